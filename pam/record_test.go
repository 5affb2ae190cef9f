// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withNames gives the site the directory in which a host with berth's container
// wants its users' names.
const withNames = `mount -t tmpfs none /var/lib; mkdir -p /var/lib/berth/names "$S/names"; mount --bind "$S/names" /var/lib/berth/names
`

// record returns nina's, and the number of its file.
func (s *site) record() (string, uint64) {
	path := filepath.Join(s.dir, "names", "4711")
	text, _ := os.ReadFile(path)
	var st unix.Stat_t
	_ = unix.Lstat(path, &st)
	return string(text), st.Ino
}

// The container's server knows who has a uid by what root left of her: it is
// there after the first session, new when it may be wrong, and else untouched.
func TestNamesAreRecorded(t *testing.T) {
	s := newSite(t, "")
	groups := withNames + `cp /etc/group "$S/group"; printf 'nina:x:4711:\ndomain users:x:4800:nina\n' >>"$S/group"; touch -d "$AGE" "$S/group" "$S/passwd"; mount --bind "$S/group" /etc/group
`
	old := "AGE='2 days ago'\n" + groups
	checkLines(t, s.session(old, user), "open 0 close 0")
	text, first := s.record()
	if text != "nina:x:4711:4711::/home/nina:/bin/sh\ndomain users:x:4800:\nnina:x:4711:\n" {
		t.Errorf("%q", text)
	}
	s.session(old, user)
	if _, again := s.record(); again != first {
		t.Error("what is fresh was written again")
	}
	s.session("AGE='next minute'\n"+groups, user) // later than the record
	_, second := s.record()
	if second == first {
		t.Error("/etc/group is newer, and the record was left")
	}
	aged := time.Now().Add(-time.Hour)
	s.must(os.Chtimes(filepath.Join(s.dir, "names", "4711"), aged, aged))
	s.session(old, user)
	if _, third := s.record(); third == second {
		t.Error("an hour old, and the record was left")
	}
	if entries, _ := os.ReadDir(filepath.Join(s.dir, "names")); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

// A record that cannot be written keeps nobody out, and one that others could
// write is none.
func TestNamesThatCannotBeRecorded(t *testing.T) {
	for name, spoil := range map[string]string{
		"writable by others": `chmod 777 /var/lib/berth/names`,
		"another's":          `chown 4711 /var/lib/berth/names`,
		"read-only":          `mount -o remount,bind,ro /var/lib/berth/names`,
		"a file":             `umount /var/lib/berth/names; rmdir /var/lib/berth/names; touch /var/lib/berth/names`,
	} {
		s := newSite(t, "")
		log := s.listen()
		out := s.session(withNames+spoil+"\n", user)
		checkLines(t, out, "open 0 close 0")
		s.checkHome(0o750)
		if text, _ := s.record(); text != "" {
			t.Errorf("%s: recorded: %q", name, text)
		}
		if lines := log.lines(); !strings.Contains(lines, "the container will not know the user's names") {
			t.Errorf("%s: log: %s", name, lines)
		}
	}
	// Where there is no such directory there is nothing to do.
	s := newSite(t, "")
	log := s.listen()
	checkLines(t, s.session("mount -t tmpfs none /var/lib\n", user), "open 0 close 0")
	if lines := log.lines(); strings.Contains(lines, "names") {
		t.Errorf("log: %s", lines)
	}
}
