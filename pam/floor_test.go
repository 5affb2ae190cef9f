// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildNosys builds scripts/testdata/nosys.c.
func buildNosys(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(built.host), "nosys")
	if out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", path, "../scripts/testdata/nosys.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// Below the floor nothing is done halfway: the session is refused and the log says
// in one line what is missing; the site's script never has the host's descriptors.
func TestKernelBelowTheFloor(t *testing.T) {
	nosys := buildNosys(t)
	const floor = " (berth needs Linux 5.11 or newer)"
	for lacks, c := range map[string]struct{ answer, log string }{
		"":            {"open 0 close 0", ""}, // as it is: the trap works
		"close_range": {"open 4", "could not be run: Function not implemented" + floor},
		"pidfd_open":  {"open 4", "pidfd_open(2): Function not implemented" + floor},
		"openat2":     {"open 14", "openat2(2): function not implemented" + floor},
	} {
		t.Run(lacks, func(t *testing.T) {
			dir, path := program(t, `echo it ran >>"$(dirname "$0")/said"; ls -l /proc/self/fd >>"$(dirname "$0")/said"`)
			s := newSite(t, "exec="+path)
			log := s.listen()
			login := func() string {
				// A descriptor of the host's that is not closed on exec.
				return s.session("exec 7</etc/shadow; set -- "+nosys+" "+lacks+" -- \"$@\"", user)
			}
			checkLines(t, login(), c.answer)
			checkLines(t, log.lines(), c.log)
			if lacks != "" {
				s.checkNoHome()
				checkLines(t, s.session("", user), "open 0 close 0")
				s.must(os.Remove(filepath.Join(dir, "said")))
			}
			s.checkHome(0o750)
			// With the home in place the script alone needs a worker, and may fail.
			checkLines(t, login(), "open 0 close 0")
			said, _ := os.ReadFile(filepath.Join(dir, "said"))
			if ran := strings.Contains(string(said), "it ran"); ran != (lacks == "") || strings.Contains(string(said), "shadow") {
				t.Errorf("ran: %v, and saw\n%s", ran, said)
			}
		})
	}
}

// Another thread of the host may reap the worker before this one has looked at it. What
// the worker has answered counts.
func TestWorkerReapedAtOnce(t *testing.T) {
	nosys := buildNosys(t)
	_, path := program(t, "exit 0")
	s := newSite(t, "exec="+path+" exec_failure=deny")
	checkLines(t, s.session("set -- "+nosys+" reaped -- \"$@\"", user), "open 0 close 0")
	s.checkHome(0o750)
}
