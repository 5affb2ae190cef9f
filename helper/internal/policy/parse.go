// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
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
func Load(path string) (Policy, error) {
	p, _, err := load(path)
	return p, err
}

func load(path string) (Policy, map[string]any, error) {
	data, err := rootfile.Read(path)
	if err != nil {
		return Policy{}, nil, &Problems{path, []Problem{{"", err.Error()}}}
	}
	p, tree, err := parse(data)
	if problems := (*Problems)(nil); errors.As(err, &problems) {
		problems.Path = path
	}
	return p, tree, err
}

// Parse reads a configuration and lays it over the default. An error is a
// *Problems that lists everything.
func Parse(data []byte) (Policy, error) {
	p, _, err := parse(data)
	return p, err
}

// parse returns what the file itself says, too.
func parse(data []byte) (Policy, map[string]any, error) {
	p := Default()
	tree := map[string]any{}
	problems := &Problems{Path: "berth.toml"}
	if err := toml.Unmarshal(data, &tree); err != nil {
		at := "is not TOML"
		if syntax := (toml.ParseError{}); errors.As(err, &syntax) {
			at = fmt.Sprintf("line %d is not TOML", syntax.Position.Line)
		}
		problems.List = []Problem{{"", at}}
		return Policy{}, nil, problems
	}
	apply(&p, tree, problems)
	if len(problems.List) > 0 {
		slices.SortFunc(problems.List, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
		return Policy{}, nil, problems
	}
	return p, tree, nil
}

// apply walks the two levels that a configuration has.
func apply(p *Policy, tree map[string]any, problems *Problems) {
	report := func(key, text string) { problems.List = append(problems.List, Problem{key, text}) }
	set := func(set setter, key string, value any) {
		if set == nil {
			report(key, "is no key of berth.toml")
		} else if err := set(p, value); err != nil {
			report(key, err.Error())
		}
	}
	for table, content := range tree {
		entries, ok := content.(map[string]any)
		switch known := keys[table]; {
		case keys[""][table].set != nil:
			set(keys[""][table].set, table, content)
		case !ok && (known == nil || table == ""):
			report(table, "is no key of berth.toml")
		case known == nil || table == "":
			report(table, "is no table of berth.toml")
		case !ok:
			report(table, "must be a table")
		default:
			for name, value := range entries {
				set(known[name].set, table+"."+name, value)
			}
		}
	}
	p.Container.conflicts(report)
	p.Users.conflicts(report)
}
