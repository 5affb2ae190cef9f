// SPDX-License-Identifier: Apache-2.0

package access

import (
	"strings"
	"testing"

	"berth/helper/internal/link/loginerror"
)

func TestCheck(t *testing.T) {
	limits := Limits{UIDMin: 1000, UIDMax: 1 << 31, RootGroups: []uint32{105}}
	good := Caller{UID: 1001, GID: 1001, Groups: []uint32{100, 1001}, Name: "alice"}
	for _, c := range []struct {
		name   string
		change func(*Caller)
		reason string // why they are refused; empty: they are not
	}{
		{"a user", func(*Caller) {}, ""},
		{"without groups", func(c *Caller) { c.Groups = nil }, ""},
		{"the lowest uid", func(c *Caller) { c.UID = 1000 }, ""},
		{"the highest uid", func(c *Caller) { c.UID, c.HasAccount = 1<<31, true }, ""},
		{"the last uid without an account", func(c *Caller) { c.UID = 60000 }, ""},
		{"before the dynamic users", func(c *Caller) { c.UID, c.HasAccount = 61183, true }, ""},
		{"behind the 16-bit ids", func(c *Caller) { c.UID, c.HasAccount = 65536, true }, ""},
		{"inside", func(c *Caller) { c.PID = 7 }, "in the container, pid 7"},
		{"root", func(c *Caller) { c.UID = 0 }, "root"},
		{"root's gid", func(c *Caller) { c.GID = 0 }, "group of root"},
		{"root's group", func(c *Caller) { c.Groups = []uint32{0} }, "group of root"},
		{"too low", func(c *Caller) { c.UID = 999 }, "out of range"},
		{"too high", func(c *Caller) { c.UID, c.HasAccount = 1<<31+1, true }, "out of range"},
		{"nobody", func(c *Caller) { c.UID = 65534 }, "mean nothing"},
		{"nogroup", func(c *Caller) { c.GID = 65534 }, "mean nothing"},
		{"a group that is not mapped", func(c *Caller) { c.Groups = []uint32{65534} }, "mean nothing"},
		{"the first dynamic user", func(c *Caller) { c.UID, c.HasAccount = 61184, true }, "out of range"},
		{"the last 16-bit id", func(c *Caller) { c.UID, c.HasAccount = 65535, true }, "out of range"},
		{"no account", func(c *Caller) { c.UID = 60001 }, "user namespace"},
		{"a subordinate uid", func(c *Caller) { c.UID = 100000 }, "user namespace"},
		{"the engine's gid", func(c *Caller) { c.GID = 105 }, "engine's group"},
		{"the engine's group", func(c *Caller) { c.Groups = []uint32{1001, 105} }, "engine's group"},
	} {
		caller := good
		c.change(&caller)
		err := Check(caller, limits)
		if c.reason == "" || err == nil {
			if (c.reason == "") != (err == nil) {
				t.Errorf("%s: %v, want %q", c.name, err, c.reason)
			}
			continue
		}
		refusal := loginerror.Of(err, "")
		if !strings.Contains(err.Error(), c.reason) || refusal.Status != 255 ||
			!strings.HasPrefix(refusal.User, "the account alice (uid ") || !strings.Contains(refusal.User, c.reason) {
			t.Errorf("%s: %+v, want %q", c.name, refusal, c.reason)
		}
	}
	// The container knows no name before it knows that there may be a session.
	if r := loginerror.Of(Check(Caller{}, limits), ""); !strings.HasPrefix(r.User, "this account is not") {
		t.Errorf("without a name: %q", r.User)
	}
}

// Whom a profile is for, by their ids.
func TestCover(t *testing.T) {
	limits := Limits{UIDMin: 1000, UIDMax: 1 << 31}
	for _, c := range []struct {
		name  string
		cover Cover
		in    bool
	}{
		{"everybody", Cover{}, true},
		{"by uid", Cover{Closed: true, Only: IDs{UIDs: []uint32{7, 1001}}}, true},
		{"by group", Cover{Closed: true, Only: IDs{GIDs: []uint32{50}}}, true},
		{"by primary group", Cover{Closed: true, Only: IDs{GIDs: []uint32{1001}}}, true},
		{"somebody else", Cover{Closed: true, Only: IDs{UIDs: []uint32{1002}, GIDs: []uint32{51}}}, false},
		{"nobody", Cover{Closed: true}, false},
		{"another profile comes first", Cover{Closed: true, Only: IDs{GIDs: []uint32{50}}, Except: IDs{UIDs: []uint32{1001}}}, false},
		{"another profile has the group", Cover{Except: IDs{GIDs: []uint32{50}}}, false},
		{"a uid is no gid", Cover{Except: IDs{UIDs: []uint32{50}, GIDs: []uint32{1002}}}, true},
	} {
		limits.Cover = c.cover
		err := Check(Caller{UID: 1001, GID: 1001, Groups: []uint32{50}}, limits)
		if (err == nil) != c.in {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && !strings.Contains(loginerror.Of(err, "").User, "connect again") {
			t.Errorf("%s: the user is told %q", c.name, loginerror.Of(err, "").User)
		}
	}
}
