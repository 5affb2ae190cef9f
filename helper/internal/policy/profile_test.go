// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const profiles = `
[container]
name = "lab"
memory = "4g"
[session]
limit = 9
[profile.staff]
groups = ["staff", "teachers"]
[profile.staff.container]
memory = "8g"
[profile.students]
groups = ["students", "teachers"]
users = ["alice"]
mode = "user"
[profile.students.container]
idle = "2h"
[[profile.students.container.mount]]
source = "%h"
[[profile.students.container.mount]]
source = "/srv/%u/%U/%G/100%%"
target = "/work"
[profile.students.session]
linger = "8h"
`

// A profile has its own values, else the base's; the first that names a user is theirs.
func TestProfiles(t *testing.T) {
	c, err := Parse([]byte(profiles))
	if err != nil {
		t.Fatal(err)
	}
	staff, _ := c.Profile("staff")
	students, _ := c.Profile("students")
	if staff.Container.Name != "lab-staff" || staff.Container.Memory != 8<<30 || staff.Session.Limit != 9 || staff.Mode != Shared || staff.Transport != Auto {
		t.Errorf("staff: %+v", staff)
	}
	if students.Container.Memory != 4<<30 || students.Container.Idle != 2*time.Hour || students.Session.Linger != 8*time.Hour ||
		students.Transport != Direct || students.Container.Restart != "on-failure" {
		t.Errorf("students: %+v", students)
	}
	if c.Base.Container.Memory != 4<<30 || c.Base.Session.Linger != 0 || len(c.Base.Container.Mounts) != 1 {
		t.Errorf("a profile has changed the base: %+v", c.Base)
	}
	for _, test := range []struct {
		user   string
		groups []string
		want   string
	}{
		{"bob", []string{"users"}, BaseProfile}, {"bob", []string{"users", "students"}, "students"}, {"bob", []string{"teachers"}, "staff"},
		{"alice", nil, "students"}, {"alice", []string{"staff"}, "staff"}, {"staff", nil, BaseProfile},
	} {
		if got := c.For(test.user, test.groups); got.Profile != test.want {
			t.Errorf("%s in %q has profile %s; should be %s", test.user, test.groups, got.Profile, test.want)
		}
	}
}

// The container of one user has their name, and their places for its mounts.
func TestForUser(t *testing.T) {
	c, err := Parse([]byte(profiles))
	if err != nil {
		t.Fatal(err)
	}
	students, _ := c.Profile("students")
	p, err := students.ForUser(Person{Name: "alice", UID: 1001, GID: 100, Home: "/home/alice"})
	want := []Mount{{Source: "/home/alice", Target: "/home/alice"}, {Source: "/srv/alice/1001/100/100%", Target: "/work"}}
	if err != nil || p.Container.Name != "lab-students-1001" || p.Container.HostName() != "lab-students" || !slices.Equal(p.Container.Mounts, want) {
		t.Errorf("%+v, %v", p.Container, err)
	}
	for _, u := range []Person{
		{Name: "a", Home: "/"}, {Name: "a", Home: "/etc"}, {Name: "a", Home: "/var/lib/docker/x"}, {Name: "a", Home: "/home/../etc"},
		{Name: "a", Home: "home"}, {Name: "a", Home: ""}, {Name: "../a", Home: "/home/a"}, {Name: "a/b", Home: "/home/a"}, {Name: "", Home: "/home/a"},
		{Name: "a", Home: "/srv/a/0/0/100%/deeper"}, {Name: "a", Home: "/home"}, {Name: "..", Home: "/home/a"},
	} {
		if p, err := students.ForUser(u); err == nil {
			t.Errorf("%+v gets %+v", u, p.Container.Mounts)
		}
	}
}

// What is wrong with profiles is reported, all at once.
func TestProfileProblems(t *testing.T) {
	for _, test := range []struct{ file, key, text string }{
		{"[profile]\nx = 1", "profile.x", "must be a table"},
		{"profile = 1", "profile", "must be [profile.NAME] tables"},
		{"[profile.Default]\ngroups = ['a']", "profile.Default", "must be called by"},
		{"[profile.default]\ngroups = ['a']", "profile.default", "must be called by"},
		{"[profile.a]\nmode = 'user'", "profile.a", "has neither groups nor users"},
		{"[profile.a]\ngroups = ['g', 'h']\n[profile.b]\ngroups = ['g']", "profile.b", "is never reached"},
		{"[profile.a]\nusers = ['g']\n[profile.b]\ngroups = ['g']", "", ""},
		{"[profile.b]\ngroups = ['g']\n[profile.a]\ngroups = ['g']", "profile.a", "is never reached"},
		{"[profile.a]\ngroups = ['g']\n[profile.a.container]\nname = 'berth'", "profile.a.container.name", "is the name that the container of"},
		{"mode = 'user'\n[profile.a]\ngroups = ['g']\n[profile.a.container]\nname = 'berth-1001'", "profile.a.container.name", "may be the name of a user's"},
		{"[profile.a]\ngroups = ['g']\ntransport = 'exec'", "profile.a.transport", "is no key"},
		{"[profile.a]\ngroups = ['g']\n[profile.a.users]\nuid_min = 1", "profile.a.users", "must be a list"},
		{"[profile.a]\ngroups = ['g']\n[profile.a.engine]\nsocket = '/x'", "profile.a.engine", "is no table"},
		{"[profile.a]\ngroups = ['g']\n[profile.a.container]\nmemroy = '1g'", "profile.a.container.memroy", "is no key"},
		{"[profile.a]\ngroups = ['g']\n[profile.a.container]\nmemory = '64m'", "profile.a.container.tmpfs", "more than three quarters"},
		{"transport = 'exec'\n[profile.a]\ngroups = ['g']\nmode = 'user'", "profile.a.mode", "with transport direct or auto"},
		{"transport = 'exec'\nmode = 'user'", "mode", "with transport direct or auto"},
		{"mode = 'user'\n[container]\nread_only = false", "container.read_only", "must be true"},
		{"mode = 'user'\n[container]\nrestart = 'always'", "container.restart", "must be"},
		{"mode = 'user'\n[[container.mount]]\nsource = '/home'", "container.mount", "holds the homes of others"},
		{"[[container.mount]]\nsource = '%h'", "container.mount", "only mode"},
		{"mode = 'user'\n[[container.mount]]\nsource = '%h/%x'", "container.mount", "is followed by"},
		{"[profile.a]\ngroups = ['a b']", "profile.a.groups", "must hold names"},
	} {
		_, err := Parse([]byte(test.file))
		var problems *Problems
		if test.key == "" {
			if err != nil {
				t.Errorf("%s\n%v", test.file, err)
			}
			continue
		}
		if !errors.As(err, &problems) || !slices.ContainsFunc(problems.List, func(p Problem) bool { return p.Key == test.key && strings.Contains(p.Text, test.text) }) {
			t.Errorf("%s\n%v", test.file, err)
		}
	}
	_, err := Parse([]byte("[profile.a]\n[profile.b]\nmode = 7\n[container]\nx = 1"))
	var problems *Problems
	if !errors.As(err, &problems) || len(problems.List) != 4 {
		t.Errorf("%v", err)
	}
}

// What `berth config` prints means the same.
func TestShowProfiles(t *testing.T) {
	c, tree, err := parse([]byte(profiles))
	if err != nil {
		t.Fatal(err)
	}
	file := TOML(show(c, tree))
	again, err := Parse([]byte(file))
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	if a, b := TOML(show(again, tree)), file; a != b {
		t.Errorf("%s\nis shown again as\n%s", b, a)
	}
}
