// SPDX-License-Identifier: Apache-2.0

// Package explain says what will happen at a user's next login, and which line of berth.toml
// says so.
//
// Process: berth. As: root.
package explain

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"berth/helper/internal/admin/engine"
	"berth/helper/internal/link/record"
	"berth/helper/internal/policy"
)

// Explanation is the JSON of `berth explain`.
type Explanation struct {
	User      string   `json:"user"`
	UID       uint32   `json:"uid"`
	Groups    []string `json:"groups"`
	Profile   string   `json:"profile"`
	Why       string   `json:"why"` // the user has this profile
	Container string   `json:"container"`
	Shells    []string `json:"shells"` // the first that is in the image
	Allowed   []string `json:"allowed"`
	Forwards  Forwards `json:"forwards"`
	Refused   string   `json:"refused,omitempty"` // what this user would read instead of a prompt
	// Host is why this user's login never comes to berth, and gets the host.
	Host     string    `json:"host,omitempty"`
	Settings []Setting `json:"settings"`
}

// Forwards is what this user's connections may forward.
type Forwards struct {
	Kinds  []string `json:"kinds"`            // local, remote, agent
	Open   []string `json:"open,omitempty"`   // permit_open; none: everywhere
	Listen []string `json:"listen,omitempty"` // permit_listen; none: everywhere
	Origin string   `json:"origin"`           // of Kinds; see Setting
}

// text is the line that a person reads.
func (f Forwards) text() string {
	var kinds []string
	for _, kind := range f.Kinds {
		options := map[string]string{policy.Local: "local (-L, -D, -W)", policy.Remote: "remote (-R)", policy.Agent: "agent (-A)"}[kind]
		if kind == policy.Local && len(f.Open) > 0 {
			options += " to " + strings.Join(f.Open, " ")
		}
		if kind == policy.Remote && len(f.Listen) > 0 {
			options += " at " + strings.Join(f.Listen, " ")
		}
		kinds = append(kinds, options)
	}
	return cmp.Or(strings.Join(kinds, ", "), "nothing") + " (" + f.Origin + ")"
}

// Setting is one key of berth.toml as it counts for the user.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"` // "default", or a file and a line
}

// byDefault is the origin of what no line says.
const byDefault = "default"

// Explain explains p, which is the user's own in mode user; settings are what policy.Show returns for
// the file at path, which has the content file.
func Explain(p policy.Policy, who record.Record, settings []policy.Setting, path string, file []byte) (Explanation, error) {
	at, err := lines(file)
	if err != nil {
		return Explanation{}, err
	}
	origin := func(key string) string { return fmt.Sprintf("%s:%d", path, at[key]) }
	groups := slices.Sorted(maps.Values(who.Groups))
	e := Explanation{User: who.User, Groups: groups, Profile: p.Profile, Container: p.Container.Name, Why: "no profile names this user or one of their groups"}
	for _, choice := range []struct {
		key  string
		own  []string
		have []string
	}{{"users", p.Members, []string{who.User}}, {"groups", p.Groups, groups}} {
		if slices.ContainsFunc(choice.own, func(name string) bool { return slices.Contains(choice.have, name) }) {
			e.Why = origin("profile." + p.Profile + "." + choice.key)
			break
		}
	}
	// No key decides this.
	for _, shell := range []string{who.Shell, p.Session.Shell, "/bin/sh"} {
		if shell != "" && !slices.Contains(e.Shells, shell) {
			e.Shells = append(e.Shells, shell)
		}
	}
	e.Allowed = []string{"shell", "command", "sftp", "terminal"}
	e.Forwards = Forwards{Kinds: append([]string{}, p.Session.Forward...), Open: p.Session.PermitOpen, Listen: p.Session.PermitListen}
	values := map[string]any{}
	for _, s := range policy.Values(p) {
		values[s.Key()] = s.Value
	}
	if p.Container.CPUs == nil {
		values["container.cpus"] = engine.DefaultCPUs()
	}
	for _, s := range settings {
		if s.Profile != "" {
			continue
		}
		from := byDefault
		if s.Set {
			from = origin(s.Key())
		}
		if !reflect.DeepEqual(values[s.Key()], s.Value) {
			from = byDefault // of the mode, or of the profile
		}
		for _, own := range settings {
			if own.Profile == p.Profile && own.Table == s.Table && own.Name == s.Name && own.Set {
				from = origin(own.Key())
			}
		}
		e.Settings = append(e.Settings, Setting{s.Key(), values[s.Key()], from})
		if s.Key() == "session.forward" {
			e.Forwards.Origin = from
		}
	}
	return e, nil
}

// Write prints the explanation for a person.
func (e Explanation) Write(w io.Writer) {
	fmt.Fprintf(w, "user        %s, uid %d, groups %s\nprofile     %s (%s)\ncontainer   %s\nshell       %s\nmay ask for %s\nforwards    %s\n",
		e.User, e.UID, strings.Join(e.Groups, " "), e.Profile, e.Why, e.Container, strings.Join(e.Shells, ", else "),
		strings.Join(e.Allowed, ", "), e.Forwards.text())
	if e.Host != "" {
		fmt.Fprintf(w, "host        %s\n", e.Host)
	}
	if e.Refused != "" {
		fmt.Fprintf(w, "refused     %s\n", e.Refused)
	}
	width := 0
	for _, s := range e.Settings {
		width = max(width, len(s.Key))
	}
	for _, s := range e.Settings {
		text := "none"
		switch v := s.Value.(type) {
		case nil:
		case []map[string]any:
			text = ""
			for i, m := range v {
				if i > 0 {
					text += ", "
				}
				text += policy.Inline(m)
			}
		default:
			text = policy.Text(v)
		}
		fmt.Fprintf(w, "%-*s = %s  # %s\n", width, s.Key, text, s.Origin)
	}
}
