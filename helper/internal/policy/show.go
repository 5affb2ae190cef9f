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
	Table, Name string
	Value       any  // in the file's own notation; nil: none
	Set         bool // by the file; else it is the default
}

// Key is the setting's name as messages and `berth config` have it.
func (s Setting) Key() string { return strings.TrimPrefix(s.Table+"."+s.Name, ".") }

// Show reads the configuration at path as Load does, and returns every setting
// that it makes or leaves, sorted by table and name.
func Show(path string) ([]Setting, error) {
	p, tree, err := load(path)
	if err != nil {
		return nil, err
	}
	return settings(p, tree), nil
}

// Defaults returns every setting as an empty file has it, sorted by table and name.
func Defaults() []Setting { return settings(Default(), nil) }

func settings(p Policy, tree map[string]any) []Setting {
	var all []Setting
	for _, table := range slices.Sorted(maps.Keys(keys)) {
		in := tree
		if table != "" {
			in, _ = tree[table].(map[string]any)
		}
		for _, name := range slices.Sorted(maps.Keys(keys[table])) {
			_, set := in[name]
			all = append(all, Setting{Table: table, Name: name, Value: keys[table][name].get(&p), Set: set})
		}
	}
	return all
}

// Tree is the settings as the file nests them.
func Tree(settings []Setting) map[string]any {
	tree := map[string]any{}
	for _, s := range settings {
		at := tree
		if s.Table != "" {
			if tree[s.Table] == nil {
				tree[s.Table] = map[string]any{}
			}
			at = tree[s.Table].(map[string]any)
		}
		at[s.Name] = s.Value
	}
	return tree
}

// TOML is the settings as a file that says the same; lines of defaults end in
// "# default".
func TOML(settings []Setting) string {
	var file, last strings.Builder // arrays of tables come after their table's keys
	table := ""
	for _, s := range settings {
		if s.Table != table {
			file.WriteString(last.String() + "\n[" + s.Table + "]\n")
			last.Reset()
			table = s.Table
		}
		origin := " # default\n"
		if s.Set {
			origin = "\n"
		}
		switch v := s.Value.(type) {
		case nil:
			fmt.Fprintf(&file, "# %s has no value%s", s.Name, origin)
		case []map[string]any:
			for _, entry := range v {
				last.WriteString("\n[[" + s.Key() + "]]" + origin)
				for _, name := range slices.Sorted(maps.Keys(entry)) {
					last.WriteString(name + " = " + Text(entry[name]) + origin)
				}
			}
		default:
			file.WriteString(s.Name + " = " + Text(v) + origin)
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
