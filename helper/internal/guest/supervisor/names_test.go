// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"berth/helper/internal/link/lifeline"
)

var (
	alice      = lifeline.Peer{UID: 1001, GID: 1001, Groups: []uint32{1001, 104, 900}}
	aliceNames = lifeline.Names{User: "alice", Gecos: "Alice", Home: "/home/alice",
		Groups: map[uint32]string{1001: "alice", 104: "kvm", 900: "domain users"}}
	bob      = lifeline.Peer{UID: 1002, GID: 1002, Groups: []uint32{900}}
	bobNames = lifeline.Names{User: "games", Home: "/home/bob", Groups: map[uint32]string{1002: "bob", 900: "domain users"}}
)

func image(t *testing.T) (dir, base string) {
	t.Helper()
	dir, base = t.TempDir(), t.TempDir()
	for file, text := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/bash\ngames:x:5:60:games:/usr/games:/usr/sbin/nologin\n",
		"group":  "root:x:0:\n_ssh:x:104:\ngames:x:60:\n",
	} {
		if err := os.WriteFile(filepath.Join(base, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, base
}

func read(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The host's names win over the image's, by id and by name, and a second login
// changes nothing.
func TestRecordNames(t *testing.T) {
	dir, base := image(t)
	for range 2 {
		if err := recordNames(dir, base, alice, aliceNames, "/bin/bash"); err != nil {
			t.Fatal(err)
		}
		if err := recordNames(dir, base, bob, bobNames, "/bin/sh"); err != nil {
			t.Fatal(err)
		}
	}
	wantPasswd := "games:x:1002:1002::/home/bob:/bin/sh\nalice:x:1001:1001:Alice:/home/alice:/bin/bash\nroot:x:0:0:root:/root:/bin/bash\n"
	if got := read(t, dir, "passwd"); got != wantPasswd {
		t.Errorf("passwd:\n%s\nwant:\n%s", got, wantPasswd)
	}
	group := read(t, dir, "group")
	for _, line := range []string{"domain users:x:900:alice,games\n", "kvm:x:104:alice\n", "alice:x:1001:alice\n", "bob:x:1002:games\n", "root:x:0:\n"} {
		if !strings.Contains(group, line) {
			t.Errorf("group lacks %q:\n%s", line, group)
		}
	}
	if strings.Contains(group, "_ssh") {
		t.Errorf("the image's name for gid 104 stayed:\n%s", group)
	}
	before, err := os.Stat(filepath.Join(dir, "passwd"))
	if err != nil {
		t.Fatal(err)
	}
	if err := recordNames(dir, base, alice, aliceNames, "/bin/bash"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, "passwd"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("an unchanged login rewrote passwd (%v)", err)
	}
}

// Whoever left a group on the host has left it inside at the next login.
func TestGroupLeft(t *testing.T) {
	dir, base := image(t)
	if err := recordNames(dir, base, alice, aliceNames, "/bin/sh"); err != nil {
		t.Fatal(err)
	}
	less := alice
	less.Groups = []uint32{1001}
	if err := recordNames(dir, base, less, aliceNames, "/bin/sh"); err != nil {
		t.Fatal(err)
	}
	if group := read(t, dir, "group"); !strings.Contains(group, "kvm:x:104:\n") {
		t.Errorf("alice is still in kvm:\n%s", group)
	}
}

func TestRecordNamesAtOnce(t *testing.T) {
	dir, base := image(t)
	var all sync.WaitGroup
	for i := range uint32(40) {
		all.Go(func() {
			name := "user" + string(rune('a'+i%26)) + string(rune('a'+i/26))
			peer := lifeline.Peer{UID: 2000 + i, GID: 900, Groups: []uint32{900}}
			names := lifeline.Names{User: name, Home: "/", Groups: map[uint32]string{900: "many"}}
			if err := recordNames(dir, base, peer, names, "/bin/sh"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(read(t, dir, "passwd"), "\n"); n != 42 {
		t.Errorf("%d lines in passwd, want 42", n)
	}
	for _, line := range strings.Split(read(t, dir, "group"), "\n") {
		if strings.HasPrefix(line, "many:") && strings.Count(line, ",") != 39 {
			t.Errorf("members lost: %s", line)
		}
	}
}

// Nothing that NSS could say forges a line, or a name for root.
func FuzzNames(f *testing.F) {
	f.Add("alice", "Alice", "/home/alice", "/bin/sh", "staff")
	f.Add("a:x:0:0:", "x\nroot::0:0::/:/bin/sh", "/", "/bin/sh\n", "g,root")
	f.Add("root", "", "relative", "", "+")
	f.Fuzz(func(t *testing.T, user, gecos, home, shell, group string) {
		names := lifeline.Names{User: user, Gecos: gecos, Home: home, Shells: []string{shell}, Groups: map[uint32]string{900: group, 0: "zero"}}
		if checkNames(&names) != nil {
			return
		}
		peer := lifeline.Peer{UID: 1001, GID: 900, Groups: []uint32{900}}
		line := passwdLine(peer, names, shell)
		if strings.Count(line, ":") != 6 || strings.Contains(line, "\n") || !strings.HasPrefix(line, user+":x:1001:900:") {
			t.Errorf("passwd line %q", line)
		}
		for _, line := range mergeGroups(nil, peer, names) {
			if strings.Count(line, ":") != 3 || strings.Contains(line, "\n") || !strings.Contains(line, ":x:900:") {
				t.Errorf("group line %q", line)
			}
		}
	})
}
