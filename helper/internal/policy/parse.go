// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"berth/helper/internal/link/rootfile"

	"github.com/BurntSushi/toml"
)

// Problem is one thing wrong with a configuration. It names the key and says
// what is due, but holds no value: a misplaced value may be a secret.
type Problem struct{ Key, Text string }

// Problems is everything wrong with a configuration.
type Problems struct {
	Path string
	List []Problem
}

func (p *Problems) Error() string {
	lines := make([]string, 0, len(p.List))
	for _, problem := range p.List {
		if problem.Key == "" {
			lines = append(lines, problem.Text)
			continue
		}
		lines = append(lines, problem.Key+": "+problem.Text)
	}
	return p.Path + ": " + strings.Join(lines, "; ")
}

// Load reads the configuration at path, which root must own and nobody else may
// write. Every failure is a *Problems.
func Load(path string) (Config, error) {
	c, _, err := load(path)
	return c, err
}

func load(path string) (Config, map[string]any, error) {
	data, err := rootfile.Read(path)
	if err != nil {
		return Config{}, nil, &Problems{path, []Problem{{"", err.Error()}}}
	}
	c, tree, err := parse(data)
	if problems := (*Problems)(nil); errors.As(err, &problems) {
		problems.Path = path
	}
	return c, tree, err
}

// Parse reads a configuration and lays it over the default. An error is a
// *Problems that lists everything.
func Parse(data []byte) (Config, error) {
	c, _, err := parse(data)
	return c, err
}

// parse returns what the file itself says, too.
func parse(data []byte) (Config, map[string]any, error) {
	tree := map[string]any{}
	meta, err := toml.Decode(string(data), &tree)
	if err != nil {
		at := "is not TOML"
		if syntax := (toml.ParseError{}); errors.As(err, &syntax) {
			at = fmt.Sprintf("line %d is not TOML", syntax.Position.Line)
		}
		return Config{}, nil, &Problems{"berth.toml", []Problem{{"", at}}}
	}
	r := &reader{}
	c := Config{Base: Default()}
	r.apply(&c.Base, without(tree, profileTable), keys, "")
	c.Profiles = r.profiles(c.Base, tree[profileTable], profileNames(meta))
	c.conflicts(r.report)
	c.Base.settleTransport()
	for i := range c.Profiles {
		c.Profiles[i].settleTransport()
	}
	if len(r.problems) > 0 {
		slices.SortFunc(r.problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
		return Config{}, nil, &Problems{"berth.toml", slices.Compact(r.problems)}
	}
	return c, tree, nil
}

func without(tree map[string]any, name string) map[string]any {
	rest := maps.Clone(tree)
	delete(rest, name)
	return rest
}

// reader collects what is wrong with a file.
type reader struct{ problems []Problem }

func (r *reader) report(key, text string) { r.problems = append(r.problems, Problem{key, text}) }

// apply sets in p what tree says, which has the two levels of known; prefix stands before
// the keys in what is reported.
func (r *reader) apply(p *Policy, tree map[string]any, known map[string]map[string]key, prefix string) {
	set := func(set setter, key string, value any) {
		if set == nil {
			r.report(prefix+key, "is no key of berth.toml")
		} else if err := set(p, value); err != nil {
			r.report(prefix+key, err.Error())
		}
	}
	// Other defaults depend on the mode.
	mode := p.Mode
	if value, given := tree["mode"]; given {
		set(modeKey.set, "mode", value)
	}
	p.adoptMode(mode)
	for table, content := range tree {
		entries, ok := content.(map[string]any)
		switch inTable := known[table]; {
		case table == "mode":
		case known[""][table].set != nil:
			set(known[""][table].set, table, content)
		case !ok && (inTable == nil || table == ""):
			r.report(prefix+table, "is no key of berth.toml")
		case inTable == nil || table == "":
			r.report(prefix+table, "is no table of berth.toml")
		case !ok:
			r.report(prefix+table, "must be a table")
		default:
			for name, value := range entries {
				set(inTable[name].set, table+"."+name, value)
			}
		}
	}
	report := func(key, text string) { r.report(prefix+key, text) }
	session, _ := tree["session"].(map[string]any)
	p.limitForwards(session, report)
	p.conflicts(report)
}

// conflicts reports values that are right by themselves and wrong together.
func (p Policy) conflicts(report func(key, text string)) {
	p.Container.conflicts(report)
	p.Users.conflicts(report)
	p.modeConflicts(report)
}
