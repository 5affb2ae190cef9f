// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// File systems that refuse: she is told why, the log has the cause, nothing is
// left, and the next login, with the fault gone, succeeds.
func TestFileSystemFaults(t *testing.T) {
	for name, c := range map[string]struct{ fault, told, log string }{
		"full":       {"mount -t tmpfs -o mode=755,size=16k none $S/home; mount --bind $S/home /home", "the disk is full", "no space left on device"},
		"no inodes":  {"mount -t tmpfs -o mode=755,nr_inodes=4 none $S/home; mount --bind $S/home /home", "the disk is full", "no space left on device"},
		"read-only":  {"mount -o remount,bind,ro /home", "its file system is read-only", "read-only file system"},
		"no parent":  {"umount /home; mount -t tmpfs -o mode=755,ro none /home", "its file system is read-only", "read-only"},
		"in a world": {"chmod 1777 /home", "please tell the administrator", "others than its owner may write it"},
		"another's":  {"chown 4712 /home", "please tell the administrator", "belongs to uid 4712"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			s.shell("head -c 100000 /dev/urandom >" + filepath.Join(s.dir, "skel/big"))
			log := s.listen()
			out := s.session(c.fault+"; trap 'ls -A /home | sed s/^/left:/' EXIT; sh() { (exec \"$@\"); }; set -- sh \"$@\"; \"$@\" || :; exit", user)
			checkLines(t, out, "open 6", "says Unable to create and initialize directory '/home/nina': "+c.told)
			checkLines(t, log.lines(), c.log)
			if strings.Contains(out, "left:") {
				t.Errorf("left: %s", out)
			}
			s.shell("chmod 755 " + s.dir + "/home; chown root " + s.dir + "/home")
			checkLines(t, s.session("", user), "open 0")
			s.shell("rm " + s.home("big"))
			s.checkHome(0o750)
		})
	}
}

// Homes and names that are none, or odd.
func TestOddAccounts(t *testing.T) {
	for name, c := range map[string]struct{ account, home, answer string }{
		"the root":                {"nina:x:4711:4711::/:/bin/sh", "", "open 0"},
		"relative":                {"nina:x:4711:4711::home/nina:/bin/sh", "", "open 6"},
		"none":                    {"nina:x:4711:4711:::/bin/sh", "", "open 6"},
		"odd characters":          {"nina:x:4711:4711::/home/ni na'\"$(id)%s\\:/bin/sh", "ni na'\"$(id)%s\\", "open 0"},
		"dots":                    {"nina:x:4711:4711::/home/../home/./nina/:/bin/sh", "nina", "open 0"},
		"deep":                    {"nina:x:4711:4711::/home/a/b/c/nina:/bin/sh", "a/b/c/nina", "open 0"},
		"below a file":            {"nina:x:4711:4711::/etc/passwd/nina:/bin/sh", "", "open 6"},
		"a directory of hers":     {"nina:x:4711:4711::/home/hers/sub/nina:/bin/sh", "hers/sub/nina", "open 0"},
		"one for all":             {"nina:x:4711:4711::/home/shared/nina:/bin/sh", "", "open 6"},
		"a name that is too long": {"nina:x:4711:4711::/home/" + strings.Repeat("n", 300) + ":/bin/sh", "", "open 6"},
		"nobody":                  {"nina:x:65534:65534::/home/nobody:/bin/sh", "", "open 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			s.write("passwd", "root:x:0:0:root:/root:/bin/sh\n"+c.account+"\n", 0o644)
			before := "umask 022; mkdir /home/hers /home/shared; chown 4711:4711 /home/hers; chmod 1777 /home/shared; cd /"
			checkLines(t, s.session(before, user), c.answer)
			s.shell("cd " + s.dir + "/home; rmdir shared; [ -d hers/sub ] || rmdir hers")
			if c.home == "" {
				s.checkNoHome()
				return
			}
			if got := s.shell("cd " + s.dir + "/home; find . -name .ssh -printf '%u %m %h\\n'"); got != "4711 700 ./"+c.home+"\n" {
				t.Errorf("%q", got)
			}
			if strings.HasPrefix(c.home, "hers") { // made with her rights alone
				if got := s.shell("find " + s.dir + "/home/hers ! -user 4711"); got != "" {
					t.Errorf("not hers: %s", got)
				}
			}
		})
	}
}

// Where a file server takes root for nobody, what the user may do is done as
// the user. Here root has lost the capabilities that make the difference.
func TestSquashedRoot(t *testing.T) {
	s := newSite(t, "")
	s.write("passwd", "root:x:0:0:root:/root:/bin/sh\nnina:x:4711:4711::/home/export/nina:/bin/sh\n", 0o644)
	s.shell("mkdir -m 700 " + s.dir + "/home/export; chown 4711:4711 " + s.dir + "/home/export")
	squash := `set -- setpriv --bounding-set -dac_override,-dac_read_search,-chown,-fowner --inh-caps -dac_override,-dac_read_search,-chown,-fowner "$@"`
	for _, made := range []bool{true, false} {
		out := s.session(squash, user)
		checkLines(t, out, "open 0 close 0")
		if strings.Contains(out, "Creating directory") != made {
			t.Errorf("made %v: %s", made, out)
		}
	}
	if got := s.shell("cd " + s.dir + "/home/export; find . -printf '%p %u %m\\n' | sort"); got != `. 4711 700
./nina 4711 750
./nina/.profile 4711 640
./nina/.ssh 4711 700
./nina/.ssh/authorized_keys 4711 600
./nina/link 4711 777
./nina/sub 4711 750
./nina/sub/run 4711 750
` {
		t.Errorf("made:\n%s", got)
	}
}
