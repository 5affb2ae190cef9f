// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the module asks of SELinux, of a stand-in: this kernel may have none. Not
// shown by this is that a policy's answers are right.
func TestLabels(t *testing.T) {
	lib := filepath.Join(t.TempDir(), "libselinux.so.1")
	if out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", lib, "testdata/fakeselinux.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for state, c := range map[string]struct {
		answer string
		labels bool
	}{
		"enforcing": {"open 0", true}, "permissive": {"open 0", true}, "disabled": {"open 0", false},
		"permissive broken": {"open 0", true}, "enforcing broken": {"open 6", true},
	} {
		t.Run(state, func(t *testing.T) {
			s := newSite(t, "")
			s.shell("cp " + lib + " " + s.dir + "/libselinux.so.1")
			s.write("selinux", state+"\n", 0o644)
			s.write("labels", "", 0o666)
			// A kernel that has SELinux; and, last, because most programs load it,
			// the library's place.
			out := s.session(`real=$(ldconfig -p | sed -n 's/.*libselinux.so.1 .*=> //p' | head -n 1)
mount -t tmpfs none /run; cp "$S/selinux" /run/selinux; touch /run/labels; mount --bind "$S/labels" /run/labels
mount -t tmpfs none /sys/fs; mkdir /sys/fs/selinux; echo 1 >/sys/fs/selinux/enforce
mount --bind "$S/libselinux.so.1" "$real"`, user)
			labels := strings.Fields(strings.ReplaceAll(s.text(filepath.Join(s.dir, "labels")), " ", ":"))
			slices.Sort(labels)
			checkLines(t, out, c.answer)
			if !c.labels {
				if len(labels) != 0 {
					t.Errorf("labels were set: %q", labels)
				}
				return
			}
			if strings.HasPrefix(c.answer, "open 6") {
				s.checkNoHome()
				return
			}
			if got := strings.Join(slices.Compact(labels), "\n"); got != strings.TrimSpace(`
/home/nina/.profile:100000
/home/nina/.ssh/authorized_keys:100000
/home/nina/.ssh:40000
/home/nina/sub/run:100000
/home/nina/sub:40000
/home/nina:40000
none`) {
				t.Errorf("labels:\n%s", got)
			}
			s.checkHome(0o750)
		})
	}
}
