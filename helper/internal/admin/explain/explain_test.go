// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"berth/helper/internal/link/record"
	"berth/helper/internal/policy"
)

const example = `# a comment
transport = "direct"

[session]
umask = "027"
shell = "/bin/sh"

[[container.mount]]
source = "/home"
target = "/home"

[profile.staff]
users = ["dora"]

[profile."guests"]
mode = "user"
groups = ["guests", "visitors"]
container.memory = "1g"

[profile."guests".session]
limit = 3
forward = ["remote", "local"]
permit_open = ["localhost:80", "h:1"]
`

// explain explains example for a user of these names.
func explain(t *testing.T, who record.Record) Explanation {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth.toml")
	if err := os.WriteFile(path, []byte(example), 0o644); err != nil {
		t.Fatal(err)
	}
	settings, err := policy.Show(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := policy.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, g := range who.Groups {
		groups = append(groups, g)
	}
	p := c.For(who.User, groups)
	if p.Mode == policy.PerUser {
		if p, err = p.ForUser(policy.Person{Name: who.User, UID: 1001, GID: 1001, Home: who.Home}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Explain(p, who, settings, "FILE", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Each value is the user's own, with the line that says so: the profile's before the base's, and none for what
// the mode brings along.
func TestOrigins(t *testing.T) {
	guest := explain(t, record.Record{User: "gus", Home: "/home/gus", Shell: "/bin/zsh", Groups: map[uint32]string{7: "visitors", 8: "gus"}})
	dora := explain(t, record.Record{User: "dora", Groups: map[uint32]string{7: "visitors"}})
	eve := explain(t, record.Record{User: "eve", Groups: map[uint32]string{9: "eve"}})
	for name, c := range map[string]struct {
		e                       Explanation
		profile, why, container string
		settings                map[string]Setting
	}{
		"a profile by a group": {guest, "guests", "FILE:17", "berth-guests-1001", map[string]Setting{
			"mode":             {Value: "user", Origin: "FILE:16"},
			"transport":        {Value: "direct", Origin: "FILE:2"},
			"container.memory": {Value: "1g", Origin: "FILE:18"},
			"session.limit":    {Value: int64(3), Origin: "FILE:21"},
			"session.umask":    {Value: "027", Origin: "FILE:5"},
			"container.mount": {Value: []map[string]any{{"source": "/home/gus", "target": "/home/gus", "read_only": false}},
				Origin: byDefault},
			"container.restart": {Value: "on-failure", Origin: byDefault},
		}},
		"the first profile, by name": {dora, "staff", "FILE:13", "berth-staff", map[string]Setting{
			"mode":            {Value: "shared", Origin: byDefault},
			"session.limit":   {Value: int64(100), Origin: byDefault},
			"container.mount": {Value: []map[string]any{{"source": "/home", "target": "/home", "read_only": false}}, Origin: "FILE:8"},
		}},
		"no profile": {eve, policy.BaseProfile, "no profile names this user or one of their groups", "berth", map[string]Setting{
			"session.shell":    {Value: "/bin/sh", Origin: "FILE:6"},
			"container.memory": {Value: "2g", Origin: byDefault},
		}},
	} {
		if c.e.Profile != c.profile || c.e.Why != c.why || c.e.Container != c.container {
			t.Errorf("%s: profile %q, why %q, container %q", name, c.e.Profile, c.e.Why, c.e.Container)
		}
		for _, s := range c.e.Settings {
			want, known := c.settings[s.Key]
			delete(c.settings, s.Key)
			if want.Key = s.Key; known && !reflect.DeepEqual(s, want) {
				t.Errorf("%s: %+v, want %+v", name, s, want)
			}
		}
		for key := range c.settings {
			t.Errorf("%s: no %s", name, key)
		}
	}
	if want := []string{"/bin/zsh", "/bin/sh"}; !reflect.DeepEqual(guest.Shells, want) {
		t.Errorf("shells %q, want %q", guest.Shells, want)
	}
	var all policy.Policy
	if len(guest.Settings) != len(policy.Values(all)) {
		t.Errorf("%d settings, of %d", len(guest.Settings), len(policy.Values(all)))
	}
}

// A person reads a key in each line, and what stands in the way before.
func TestWrite(t *testing.T) {
	e := explain(t, record.Record{User: "gus", Home: "/home/gus", Groups: map[uint32]string{7: "visitors"}})
	e.UID, e.Refused, e.Host = 1001, "not now", "sshd does not"
	var out bytes.Buffer
	e.Write(&out)
	for _, line := range []string{
		"user        gus, uid 1001, groups visitors", "profile     guests (FILE:17)", "container   berth-guests-1001", "shell       /bin/sh",
		"forwards    local (-L, -D, -W) to h:1 localhost:80, remote (-R) (FILE:22)",
		"host        sshd does not", "refused     not now", `container.memory         = "1g"  # FILE:18`, "container.runtime        = none  # default",
		`container.mount          = { read_only = false, source = "/home/gus", target = "/home/gus" }  # default`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, &out)
		}
	}
	var none bytes.Buffer
	explain(t, record.Record{User: "dora"}).Write(&none)
	if !strings.Contains(none.String(), "\nforwards    nothing (default)\n") {
		t.Errorf("%s", &none)
	}
	text, err := json.Marshal(e)
	if err != nil || !strings.Contains(string(text), `{"key":"session.limit","value":3,"origin":"FILE:21"}`) {
		t.Errorf("%s, %v", text, err)
	}
}

// Every way to write a key down is found in its line.
func TestLines(t *testing.T) {
	got, err := lines([]byte("a = 1\n[t]\nb = [\n 1,\n]\nc.d = 2\n\"e f\" = 3\n[[l.m]]\nx = 1\n[[l.m]]\nx = 2\n"))
	want := map[string]int{"a": 1, "t": 2, "t.b": 3, "t.c.d": 6, "t.e f": 7, "l.m": 8, "l.m.x": 9}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := lines([]byte("a = \n")); err == nil {
		t.Error("what is no TOML has lines")
	}
}
