// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/drain"
	"berth/helper/internal/link/rules"
	"berth/helper/internal/policy"
)

// person is a user of the test's with a record, and the policy of their own container.
func person(t *testing.T, d Dirs, p policy.Policy) (policy.Policy, uint32) {
	t.Helper()
	p.Mode, p.Profile = policy.PerUser, "own"
	p.Container.Mounts = []policy.Mount{{Source: "%h", Target: "%h"}}
	p, err := p.ForUser(policy.Person{Name: "pat", UID: 1234, GID: 1234, Home: "/home/pat"})
	if err == nil {
		err = errors.Join(os.MkdirAll(d.Names, 0o755), os.WriteFile(filepath.Join(d.Names, "1234"), []byte("pat:x:1234:1234::/home/pat:/bin/sh\n"), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return p, 1234
}

// What `berth prepare` leaves of one user, and that `berth gc` finds all of it again.
func TestPrepareUser(t *testing.T) {
	d, shared := host(t, policy.Direct)
	if _, err := d.Prepare(policy.Config{Base: shared}); err != nil {
		t.Fatal(err)
	}
	p, uid := person(t, d, shared)
	for range 2 {
		if err := errors.Join(d.PrepareUser(p, uid), d.LinkUser("1234", p)); err != nil {
			t.Fatal(err)
		}
	}
	if target, err := os.Readlink(filepath.Join(d.Users, "1234")); err != nil || target != "../profiles/own/berth-1234" {
		t.Errorf("%q, %v", target, err)
	}
	if target, err := os.Readlink(filepath.Join(d.Users, policy.AnyUser)); err != nil || target != "../profiles/default/berth" {
		t.Errorf("%q, %v", target, err)
	}
	r, err := rules.Load(filepath.Join(d.Dir(p), rules.File))
	if want := (access.Cover{Closed: true, Only: access.IDs{UIDs: []uint32{uid}}}); err != nil || !reflect.DeepEqual(r.Cover, want) || r.Idle != 900 || r.Spares != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if seen := d.LastSeen(uid); time.Since(seen) > time.Minute {
		t.Errorf("seen %v", seen)
	}
	traces, err := d.Traces([]policy.Policy{shared})
	var found []string
	for _, trace := range traces {
		path, _ := filepath.Rel(filepath.Dir(d.Profiles), trace.Path)
		found = append(found, path)
		if trace.UID != uid {
			t.Errorf("%+v", trace)
		}
	}
	slices.Sort(found)
	if want := []string{"names/1234", "profiles/own/berth-1234", "users/1234", "users/1234.names"}; err != nil || !slices.Equal(found, want) {
		t.Errorf("%q, %v", found, err)
	}
}

// A shared container whose name looks like a user's is none.
func TestSharedIsNoTrace(t *testing.T) {
	d, shared := host(t, policy.Direct)
	shared.Container.Name = "berth-2026"
	if _, err := d.Prepare(policy.Config{Base: shared}); err != nil {
		t.Fatal(err)
	}
	if traces, err := d.Traces([]policy.Policy{shared}); err != nil || len(traces) > 0 {
		t.Errorf("%+v, %v", traces, err)
	}
}

// Draining reaches the containers that are there, and those that `berth up` makes meanwhile.
func TestDrain(t *testing.T) {
	d, p := host(t, policy.Direct)
	prepare := func() {
		t.Helper()
		if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
			t.Fatal(err)
		}
	}
	prepare()
	if err := d.Drain(true, "at nine"); err != nil {
		t.Fatal(err)
	}
	p.Container.Name = "later"
	prepare()
	files := []string{d.DrainFile(), filepath.Join(d.ContainerDir("default", "berth"), "drain"), filepath.Join(d.ContainerDir("default", "later"), "drain")}
	for _, path := range files {
		if err := drain.Check(path); err == nil {
			t.Errorf("%s does not drain", path)
		}
	}
	for range 2 {
		if err := d.Drain(false, ""); err != nil {
			t.Error(err)
		}
	}
	for _, path := range files {
		if err := drain.Check(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// The directory of a container of berth 0.1 is taken over, under both names.
func TestOldDirectory(t *testing.T) {
	d, p := host(t, policy.Direct)
	old := filepath.Join(d.State, "serve")
	if err := errors.Join(os.MkdirAll(old, 0o755), os.WriteFile(filepath.Join(old, "socket"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{filepath.Join(d.Dir(p), "socket"), filepath.Join(old, "socket"), filepath.Join(d.Users, "any", "socket")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// Whom profiles cover by this host's ids; who is in two has the first.
func TestCovers(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroup("daemon")
	if err != nil {
		t.Fatal(err)
	}
	id := func(text string) uint32 { n, _ := strconv.ParseUint(text, 10, 32); return uint32(n) }
	uid, gid := id(me.Uid), id(group.Gid)
	c, err := policy.Parse([]byte("[profile.a]\ngroups = ['daemon', 'no-such-group']\n[profile.b]\nusers = ['" + me.Username + "', 'no-such-user']\n"))
	if err != nil {
		t.Fatal(err)
	}
	covers, unknown := Covers(c)
	first := access.IDs{GIDs: []uint32{gid}}
	want := map[string]access.Cover{
		"a":       {Closed: true, Only: first},
		"b":       {Closed: true, Only: access.IDs{UIDs: []uint32{uid}}, Except: first},
		"default": {Except: access.IDs{UIDs: []uint32{uid}, GIDs: []uint32{gid}}},
	}
	for name, cover := range want {
		if !reflect.DeepEqual(covers[name], cover) {
			t.Errorf("%s: %+v, want %+v", name, covers[name], cover)
		}
	}
	if !slices.Equal(unknown, []string{"group no-such-group of profile a", "user no-such-user of profile b"}) {
		t.Errorf("%q", unknown)
	}
	if there, err := HasAccount(uid); err != nil || !there {
		t.Errorf("own account: %t, %v", there, err)
	}
	if there, err := HasAccount(1<<31 - 77); err != nil || there {
		t.Errorf("no account: %t, %v", there, err)
	}
	if known, uid2, err := LookUp(me.Username); err != nil || uid2 != uid || known.Home != me.HomeDir || len(known.Groups) == 0 {
		t.Errorf("%+v, %d, %v", known, uid2, err)
	}
}
