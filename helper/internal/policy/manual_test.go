// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// Every key is in berth.toml(5) with its default, and the manual has no other. A default
// stands in the key's line, or, as a piece of a file, below the word "Default:".
func TestManual(t *testing.T) {
	documented := manual(t)
	for _, s := range Defaults() {
		text, found := documented[s.Key()]
		delete(documented, s.Key())
		if !found {
			t.Errorf("berth.toml(5) does not have %s", s.Key())
			continue
		}
		if s.Value == nil && text == "" {
			continue
		}
		tree := map[string]any{}
		if err := toml.Unmarshal([]byte(text), &tree); err != nil || text == "" {
			t.Errorf("berth.toml(5): the default of %s is %q: %v", s.Key(), text, err)
			continue
		}
		// What the manual says is put into a policy that has nothing, and then shown.
		p := Policy{}
		in := tree
		if s.Table != "" {
			in, _ = tree[s.Table].(map[string]any)
		}
		if err := keys[s.Table][s.Name].set(&p, in[s.Name]); err != nil {
			t.Errorf("berth.toml(5): the default of %s is %q: %v", s.Key(), text, err)
		}
		if got := keys[s.Table][s.Name].get(&p); !reflect.DeepEqual(got, s.Value) {
			t.Errorf("berth.toml(5): the default of %s is %s, and should be %s", s.Key(), text, Text(s.Value))
		}
	}
	for name := range profileKeys[""] {
		if _, found := documented[profileTable+"."+name]; !found {
			t.Errorf("berth.toml(5) does not have %s of a profile", name)
		}
		delete(documented, profileTable+"."+name)
	}
	for key := range documented {
		t.Errorf("berth.toml(5) has %s, which is no key", key)
	}
}

// manual returns the keys that berth.toml(5) has, each with its default as a piece of a file;
// an empty one: it states none.
func manual(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../../man/berth.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	tables := regexp.MustCompile(`^\.Ss (?:Before any table|\[(\w+)(?:\.NAME)?\]|\[\[(\w+\.\w+)\]\])$`)
	display := regexp.MustCompile(`(?s)^Default:\n\.Bd -literal -compact\n(.*?)\n\.Ed\n`)
	table, key := "", "" // the latest; key is that of a display
	for rest := string(page); rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		switch heading := tables.FindStringSubmatch(line); {
		case strings.HasPrefix(line, ".Sh ") && table != "":
			return found
		case heading != nil && heading[2] != "":
			table, key = "", heading[2]
			found[key] = ""
		case heading != nil:
			table, key = heading[1], ""
		case strings.HasPrefix(line, ".It Cm ") && !strings.Contains(key, "mount"):
			for _, entry := range strings.Split(strings.TrimPrefix(line, ".It Cm "), " , Cm ") {
				name, def, _ := strings.Cut(entry, " No = ")
				key = strings.TrimPrefix(table+"."+name, ".")
				found[key] = ""
				if def != "" {
					found[key] = key + " = " + value(def)
				}
			}
		case line == "Default:":
			match := display.FindStringSubmatch(rest)
			if match == nil || key == "" {
				t.Fatalf("no display follows: %s", line)
			}
			found[key] = match[1]
		}
		rest = after
	}
	return found
}

// value returns a value as the file has it from how a line of mdoc(7) has it.
func value(mdoc string) string {
	return strings.ReplaceAll(regexp.MustCompile(`Dq (\S+)`).ReplaceAllString(mdoc, `"$1"`), " ,", ",")
}
