// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withSessions gives the site the directory in which a host with berth's container
// has one for each user.
const withSessions = `mount -t tmpfs none /var/lib; mkdir -p /var/lib/berth/sessions "$S/sessions"; chmod 711 "$S/sessions"; mount --bind "$S/sessions" /var/lib/berth/sessions
`

// dead is the pid of no process: it is above PID_MAX_LIMIT (proc(5)).
const dead = "4194305"

// Where the host has berth's container the user gets a directory, and every message the
// connection's id; elsewhere neither.
func TestConnection(t *testing.T) {
	s := newSite(t, "debug")
	log := s.listen()
	s.session("", user) // makes the home
	s.session("", user)
	s.session(withSessions+"umask 0777\n", user)
	s.session(withSessions, user)
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.dir, "sessions/4711"), &st); err != nil || st.Uid != uid || st.Gid != uid || st.Mode != unix.S_IFDIR|0o700 {
		t.Errorf("the directory: %v, %d:%d %o", err, st.Uid, st.Gid, st.Mode)
	}
	lines := log.lines()
	ids := regexp.MustCompile(`the home of nina is in place \(id ([0-9a-f]{8})\)`).FindAllStringSubmatch(lines, -1)
	if strings.Count(lines, "the home of nina is in place") != 3 || len(ids) != 2 || ids[0][1] == ids[1][1] {
		t.Errorf("%q in:\n%s", ids, lines)
	}
}

// At the close root writes the ends of dead sessions, and trusts nothing in the
// user's directory but a name's form.
func TestMissingEnds(t *testing.T) {
	s := newSite(t, "")
	log := s.listen()
	s.session("", user)
	dir := filepath.Join(s.dir, "sessions/4711")
	s.must(os.MkdirAll(dir, 0o700))
	s.must(os.Chmod(filepath.Join(s.dir, "sessions"), 0o711))
	s.write("precious", "12345", 0o600)
	keep := []string{"0badcafe-00000001.1", "0badcafe", "x." + dead, "0badcafe-0000000g." + dead, "0badcafe-00000001.0" + dead, "0badcafe-00000001.", "0badcafe-00000001.99999999999"}
	for _, name := range append(keep, "0badcafe-00000002."+dead, "0badcafe."+dead) {
		s.write("sessions/4711/"+name, "x", 0o600)
	}
	s.must(os.Symlink(s.dir+"/precious", dir+"/0badcafe-00000003."+dead))
	s.must(os.Mkdir(dir+"/0badcafe-00000004."+dead, 0o755))
	s.must(unix.Mkfifo(dir+"/0badcafe-00000005."+dead, 0o666))
	s.must(os.WriteFile(dir+"/omitted", []byte("....."), 0o600))
	for name := range s.names(dir) {
		s.must(os.Lchown(filepath.Join(dir, name), uid, uid))
	}
	s.must(os.Chown(dir, uid, uid))
	checkLines(t, s.session(withSessions, user), "open 0 close 0")
	// A link where the count is expected is no count.
	s.must(os.Symlink(s.dir+"/precious", dir+"/omitted"))
	checkLines(t, s.session(withSessions, user), "open 0 close 0")
	left := s.names(dir)
	for _, name := range append(keep, "0badcafe-00000004."+dead) {
		if !left[name] {
			t.Errorf("%s is gone", name)
		}
	}
	if len(left) != len(keep)+1 {
		t.Errorf("left: %v", left)
	}
	if text, err := os.ReadFile(s.dir + "/precious"); string(text) != "12345" {
		t.Errorf("a file that a link led to: %q, %v", text, err)
	}
	lines := log.lines()
	var got []string
	for _, m := range regexp.MustCompile(`<84>.*pam_berth\(test:session\): session (.*)\n`).FindAllStringSubmatch(lines, -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	var expected []string
	for _, id := range []string{"0badcafe", "0badcafe-00000002", "0badcafe-00000003", "0badcafe-00000005"} {
		expected = append(expected, fmt.Sprintf(`lost id=%s user=nina uid=4711 reason="berth-session was killed"`, id))
	}
	expected = append(expected, "omitted user=nina uid=4711 count=5")
	slices.Sort(expected)
	if !slices.Equal(got, expected) {
		t.Errorf("%q\nwant %q in:\n%s", got, expected, lines)
	}
}

func (s *site) names(dir string) map[string]bool {
	s.t.Helper()
	entries, err := os.ReadDir(dir)
	s.must(err)
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

// What is not as root made it is left alone, and refuses nobody.
func TestSessionsDirectoryThatIsWrong(t *testing.T) {
	for name, spoil := range map[string]string{
		"others may write": `chmod 777 "$S/sessions"`,
		"another's":        `chown 4712 "$S/sessions"`,
		"a link":           `rm -rf "$S/sessions/4711"; ln -s /etc "$S/sessions/4711"`,
		"a user's":         `rm -rf "$S/sessions/4711"; mkdir "$S/sessions/4711"; chown 4712 "$S/sessions/4711"`,
	} {
		s := newSite(t, "")
		log := s.listen()
		checkLines(t, s.session(withSessions, user), "open 0 close 0")
		checkLines(t, s.session(withSessions+spoil+"\n", user), "open 0 close 0")
		if lines := log.lines(); strings.Count(lines, "the session's record may have no end") != 1 {
			t.Errorf("%s: %s", name, lines)
		}
		if st, err := os.Stat("/etc"); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s: /etc: %v, %v", name, st.Mode(), err)
		}
	}
	// One that root could not give away, because the host stopped, is given away now.
	s := newSite(t, "")
	s.session(withSessions+`mkdir "$S/sessions/4711"`+"\n", user)
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.dir, "sessions/4711"), &st); err != nil || st.Uid != uid || st.Mode&0o7777 != 0o700 {
		t.Errorf("%v, %d %o", err, st.Uid, st.Mode)
	}
}
