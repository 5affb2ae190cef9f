// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Setting is the value that one key of berth.toml has.
type Setting struct {
	Profile     string // empty: it stands outside of the profiles
	Table, Name string
	Value       any  // in the file's own notation; nil: none
	Set         bool // by the file, at this very place; else it is the default or the base's
}

// Key is the setting's name as messages and `berth config` have it.
func (s Setting) Key() string { return strings.TrimPrefix(s.table()+"."+s.Name, ".") }

// table is the name of the setting's table in the file.
func (s Setting) table() string {
	if s.Profile == "" {
		return s.Table
	}
	return strings.TrimSuffix(profileTable+"."+s.Profile+"."+s.Table, ".")
}

// Show reads the configuration at path as Load does, and returns every setting
// that it makes or leaves: the base's, then each profile's, sorted by table and name.
func Show(path string) ([]Setting, error) {
	c, tree, err := load(path)
	if err != nil {
		return nil, err
	}
	return show(c, tree), nil
}

func show(c Config, tree map[string]any) []Setting {
	all := settings(c.Base, "", keys, tree)
	profiles, _ := tree[profileTable].(map[string]any)
	for _, p := range c.Profiles {
		in, _ := profiles[p.Profile].(map[string]any)
		all = append(all, settings(p, p.Profile, profileKeys, in)...)
	}
	return all
}

// Defaults returns every setting as an empty file has it, sorted by table and name.
func Defaults() []Setting { return settings(Default(), "", keys, nil) }

// Values returns every setting of a policy, whatever file it comes from.
func Values(p Policy) []Setting { return settings(p, "", keys, nil) }

func settings(p Policy, profile string, known map[string]map[string]key, tree map[string]any) []Setting {
	var all []Setting
	for _, table := range slices.Sorted(maps.Keys(known)) {
		in := tree
		if table != "" {
			in, _ = tree[table].(map[string]any)
		}
		for _, name := range slices.Sorted(maps.Keys(known[table])) {
			_, set := in[name]
			all = append(all, Setting{Profile: profile, Table: table, Name: name, Value: known[table][name].get(&p), Set: set})
		}
	}
	return all
}

// Tree is the settings as the file nests them.
func Tree(settings []Setting) map[string]any {
	tree := map[string]any{}
	for _, s := range settings {
		at := tree
		for _, table := range strings.FieldsFunc(s.table(), func(c rune) bool { return c == '.' }) {
			if at[table] == nil {
				at[table] = map[string]any{}
			}
			at = at[table].(map[string]any)
		}
		at[s.Name] = s.Value
	}
	return tree
}

// TOML is the settings as a file that says the same. Lines of defaults end in
// "# default", and what a profile has of the base is a comment.
func TOML(settings []Setting) string {
	var file, last strings.Builder // arrays of tables come after their table's keys
	table := ""
	for _, s := range settings {
		if s.table() != table {
			file.WriteString(last.String() + "\n[" + s.table() + "]\n")
			last.Reset()
			table = s.table()
		}
		start, origin := "", " # default\n"
		switch {
		case s.Set:
			origin = "\n"
		case s.Profile != "":
			start, origin = "# ", "\n"
		}
		switch v := s.Value.(type) {
		case nil:
			fmt.Fprintf(&file, "# %s has no value%s", s.Name, origin)
		case []map[string]any:
			for _, entry := range v {
				last.WriteString("\n" + start + "[[" + s.Key() + "]]" + origin)
				for _, name := range slices.Sorted(maps.Keys(entry)) {
					last.WriteString(start + name + " = " + Text(entry[name]) + origin)
				}
			}
		default:
			file.WriteString(start + s.Name + " = " + Text(v) + origin)
		}
	}
	return file.String() + last.String()
}

// Text is a value as the file has it. JSON's strings, numbers and lists are TOML's;
// DEL alone is one of the characters that TOML wants escaped and JSON does not.
func Text(v any) string {
	if table, ok := v.(map[string]string); ok {
		var entries []string
		for _, name := range slices.Sorted(maps.Keys(table)) {
			entries = append(entries, Text(name)+" = "+Text(table[name]))
		}
		return "{ " + strings.Join(entries, ", ") + " }"
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // a type of ours: never fails
	return strings.ReplaceAll(strings.TrimSpace(text.String()), "\x7f", `\u007f`)
}

// Inline is a table as the file has it in one line.
func Inline(table map[string]any) string {
	var entries []string
	for _, name := range slices.Sorted(maps.Keys(table)) {
		entries = append(entries, name+" = "+Text(table[name]))
	}
	return "{ " + strings.Join(entries, ", ") + " }"
}

// Plain is a value for a shell's $(...): a string without quotes, nothing for
// none, and all else as the file has it.
func Plain(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case []map[string]any:
		text, _ := json.Marshal(v) // strings and flags: never fails
		return string(text)
	}
	return Text(value)
}
