// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkNoHome asserts that the site has no home at all.
func (s *site) checkNoHome() {
	s.t.Helper()
	if left, err := os.ReadDir(filepath.Join(s.dir, "home")); err != nil || len(left) != 0 {
		s.t.Errorf("left: %v, %v", left, err)
	}
}

func (s *site) text(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(path)
	s.must(err)
	return string(text)
}

// rootsDir is a directory that is root's up to the root, and gone in the end: the
// site itself lies in one that all may write.
func rootsDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var", "berth-pam-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWhoIsServed(t *testing.T) {
	for options, served := range map[string]bool{
		"uid_min=4711": true, "uid_min=4712": false, "uid_max=4711": true, "uid_max=4710": false,
		"group=nina": true, "group=staff": false, "group=nonexistent": false,
		"group=staff,nina": true, "group=nina,staff": true, "group=staff,nonexistent": false, "group=,": false, "group=ni,na": false,
		"group=" + strings.Repeat("x", 300) + ",nina": true,
		"uid_min=many": true, "uid_max=-1": true, "uid_min=": true, // told, and not given
	} {
		t.Run(options, func(t *testing.T) {
			s := newSite(t, options)
			s.write("group", "root:x:0:\nnina:x:4711:\nstaff:x:50:\n", 0o644)
			out := s.session("mount --bind "+s.dir+"/group /etc/group", user)
			checkLines(t, out, "open 0 close 0")
			if served {
				s.checkHome(0o750)
			} else {
				s.checkNoHome()
			}
		})
	}
}

func TestModeOption(t *testing.T) {
	s := newSite(t, "mode=0711 umask=077")
	checkLines(t, s.session("", user), "open 0")
	st, err := os.Stat(s.home())
	s.must(err)
	inner, err := os.Stat(s.home("sub"))
	s.must(err)
	if st.Mode().Perm() != 0o711 || inner.Mode().Perm() != 0o700 {
		t.Errorf("home %v, inside %v", st.Mode(), inner.Mode())
	}
	// What is no mode is told and ignored.
	s = newSite(t, "mode=rwx umask=9")
	checkLines(t, s.session("", user), "open 0")
	s.checkHome(0o750)
}

func TestNoSSHDir(t *testing.T) {
	s := newSite(t, "ssh_dir=no")
	for range 2 {
		checkLines(t, s.session("", user), "open 0 close 0")
		if _, err := os.Lstat(s.home(".ssh")); err == nil {
			t.Error(".ssh was made")
		}
	}
}

// A first authorized_keys comes from a place of root's, once.
func TestFirstKeys(t *testing.T) {
	dir := rootsDir(t)
	for _, pattern := range []string{"%u", "%U", "100%%", "deep/%u/%U%h"} {
		name := strings.NewReplacer("%u", user, "%U", "4711", "%%", "%", "%h", "/home/"+user).Replace(pattern)
		path := filepath.Join(dir, name)
		s := newSite(t, "authorized_keys="+dir+"/"+pattern)
		s.must(os.MkdirAll(filepath.Dir(path), 0o755))
		s.must(os.WriteFile(path, []byte("ssh-ed25519 "+pattern+"\n"), 0o600))
		checkLines(t, s.session("", user), "open 0")
		s.checkHome(0o750)
		keys := s.home(".ssh/authorized_keys")
		if got := s.text(keys); got != "ssh-ed25519 "+pattern+"\n" {
			t.Errorf("%s: %q", pattern, got)
		}
		// Hers from now on; and a home that lost its keys gets them again.
		s.must(os.WriteFile(path, []byte("other"), 0o600))
		s.session("", user)
		if got := s.text(keys); got != "ssh-ed25519 "+pattern+"\n" {
			t.Errorf("%s: overwritten: %q", pattern, got)
		}
		s.must(os.RemoveAll(s.home(".ssh")))
		s.session("", user)
		if got := s.text(keys); got != "other" {
			t.Errorf("%s: in an existing home: %q", pattern, got)
		}
		s.checkHome(0o750)
	}
}

// What others may write, or is no file, is not taken; nor is anything read by way
// of a user's name.
func TestFirstKeysThatAreNotTaken(t *testing.T) {
	dir := rootsDir(t)
	secret := filepath.Join(dir, "secret")
	for name, c := range map[string]struct{ option, prepare string }{
		"missing":             {dir + "/none/%u", ""},
		"hers":                {"%h/keys", "mkdir -m 755 /home/nina; echo secret >/home/nina/keys; chown -R nina /home/nina"},
		"another's":           {dir + "/f1", "echo secret >" + dir + "/f1; chown 4712 " + dir + "/f1"},
		"writable":            {dir + "/f2", "echo secret >" + dir + "/f2; chmod 664 " + dir + "/f2"},
		"in a writable place": {dir + "/d/f", "mkdir -p " + dir + "/d; echo secret >" + dir + "/d/f; chmod 777 " + dir + "/d"},
		"a directory":         {dir, ""},
		"a FIFO":              {dir + "/fifo", "mkfifo " + dir + "/fifo"},
		"too big":             {dir + "/big", "head -c 2M /dev/zero >" + dir + "/big"},
		"an unknown token":    {dir + "/%n", ""},
		"relative":            {"etc/keys", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "authorized_keys="+c.option)
			checkLines(t, s.session(c.prepare, user), "open 0")
			if got := s.text(s.home(".ssh/authorized_keys")); got != "" {
				t.Errorf("taken: %q", got)
			}
		})
	}
	s := newSite(t, "authorized_keys="+dir+"/keys/%u")
	s.must(os.MkdirAll(filepath.Join(dir, "keys"), 0o755))
	s.must(os.WriteFile(secret, []byte("secret"), 0o600))
	s.write("passwd", "root:x:0:0:root:/root:/bin/sh\n../secret:x:4711:4711::/home/nina:/bin/sh\n", 0o644)
	checkLines(t, s.session("", "../secret"), "open 0")
	if got := s.text(s.home(".ssh/authorized_keys")); got != "" {
		t.Errorf("read by way of a name: %q", got)
	}
	// A link of root's own is the administrator's.
	s = newSite(t, "authorized_keys="+dir+"/link")
	s.must(os.Symlink("secret", filepath.Join(dir, "link")))
	checkLines(t, s.session("", user), "open 0")
	if got := s.text(s.home(".ssh/authorized_keys")); got != "secret" {
		t.Errorf("root's link: %q", got)
	}
}

// A home that exists and is not as it must be, under each choice.
func TestExisting(t *testing.T) {
	cases := map[string]struct {
		make     string
		repaired string // mode and owner, or "" where repair leaves it alone
	}{
		"a plain file":          {"echo precious >$H", ""},
		"a symbolic link":       {"mkdir $H.real; chown nina $H.real; ln -s $H.real $H", ""},
		"a dangling link":       {"ln -s nowhere $H", ""},
		"somebody else's":       {"mkdir $H; chown 4712 $H", ""},
		"root's, with files":    {"mkdir $H; echo precious >$H/file", ""},
		"root's, and empty":     {"mkdir $H", "750 4711"},
		"writable by others":    {"mkdir $H; chown nina $H; chmod 777 $H", "755 4711"},
		"writable by a group":   {"mkdir $H; chown nina:50 $H; chmod 2770 $H", "2750 4711"},
		"nothing wrong with it": {"mkdir $H; chown nina $H", "755 4711"},
	}
	for name, c := range cases {
		for _, existing := range []string{"", "ignore", "warn", "repair", "deny", "nonsense"} {
			t.Run(name+"/"+existing, func(t *testing.T) {
				options := ""
				if existing != "" {
					options = "existing=" + existing
				}
				s := newSite(t, options)
				out := s.session("H=/home/nina; umask 022; "+c.make+"; stat -c 'was %a %u %s' $H", user)
				answer := "open 0"
				if existing == "deny" && name != "nothing wrong with it" {
					answer = "open 6"
					checkLines(t, out, "says Your home directory /home/nina ")
				}
				checkLines(t, out, answer)
				state := s.stat()
				_, was, _ := strings.Cut(out, "was ")
				was, _, _ = strings.Cut(was, "\n")
				if existing == "repair" && c.repaired != "" {
					was = c.repaired + was[strings.LastIndex(was, " "):]
				}
				if state != was && !strings.HasPrefix(was, state[:strings.LastIndex(state, " ")]) {
					t.Errorf("now %q, expected %q", state, was)
				}
			})
		}
	}
}

// stat is the home's mode, owner and size, as stat(1) writes them.
func (s *site) stat() string {
	return strings.TrimSpace(s.shell("stat -c '%a %u %s' " + s.home()))
}
