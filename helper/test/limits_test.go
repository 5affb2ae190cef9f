// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/test/labs"
)

// programs are berth-session, for either way to the container.
var programs = []string{"/usr/libexec/berth/berth-session", "/usr/libexec/berth/berth-session-exec"}

// autoTransport is a lab in which either may go.
const autoTransport = "transport = \"auto\"\n"

// Limits that the Go runtime cannot live under are one line for the user and one
// for the log, under one id; those that it can are the session's own.
func TestResourceLimits(t *testing.T) {
	l := labs.New(t, autoTransport)
	logInOnce(t, l, "alice")
	const refused = "no session can start within your resource limits ("
	// With so many it is a matter of who comes first, a thread here or one in the
	// container: each has words of its own.
	const some = " "
	for _, c := range []struct {
		limits string
		words  string // "": the session runs
	}{
		{"--as=512000000", refused + "as 500000)"}, {"--as=1300000000", refused + "as 1269531)"},
		{"--data=60000000", refused + "data 58593)"}, {"--data=120000000", refused},
		{"--nofile=8", refused + "nofile 8)"}, {"--nofile=16", refused},
		{"--nproc=1", refused + "nproc 1)"}, {"--nproc=8", refused},
		{"--nproc=13", some}, {"--nproc=16", some}, {"--nproc=19", some},
		{"--as=2000000000 --nofile=64", ""}, {"--data=200000000", ""}, {"--nproc=60", ""}, {"--stack=65536", ""},
		{"--fsize=0 --memlock=0 --sigpending=0 --core=0 --rttime=1", ""},
		{"--as=512000000:unlimited", ""}, // a soft one is raised, and is the session's again inside
	} {
		for _, program := range programs {
			argv := append(append([]string{"prlimit"}, strings.Fields(c.limits)...), program, "-c", "echo in; ulimit -Sv")
			r := labs.Finish(l.AsUser("alice", argv...))
			if c.words == "" {
				soft := "unlimited"
				if _, as, ok := strings.Cut(c.limits, "--as="); ok {
					soft = map[byte]string{'2': "1953125", '5': "500000"}[as[0]]
				}
				if want := "in\n" + soft + "\n"; r.Out != want || r.Err != "" || r.Status != 0 {
					t.Errorf("%s %s: %+v, want %q", program, c.limits, r, want)
				}
				continue
			}
			line := regexp.MustCompile(`^berth: (.*) \(id ([0-9a-f]{8}(?:-[0-9a-f]{8})?)\)\n$`).FindStringSubmatch(r.Err)
			if line == nil || r.Out != "" || r.Status != 255 && c.words != some || r.Status == 0 || !strings.Contains(line[1], c.words) {
				t.Errorf("%s %s: %+v, want %q", program, c.limits, r, c.words)
				continue
			}
			labs.Eventually(t, labs.Patience, func() (bool, string) {
				found := l.Try("grep", "-q", line[2], l.Path("log")).Status == 0
				return found, fmt.Sprintf("%s %s: no line with id %s in the log", program, c.limits, line[2])
			})
		}
	}
}

// What a limit takes in the middle of a session is one line as well.
func TestLimitReachedDuringSession(t *testing.T) {
	l := labs.New(t, autoTransport)
	logInOnce(t, l, "bob")
	for range 8 { // of bob's threads, others take now more and now less
		for _, program := range programs {
			r := labs.Finish(l.AsUser("bob", "prlimit", "--nproc=22", "sh", "-c", program+" -c 'sleep 0.2; seq 3 | cat' & "+program+" -c 'seq 3 | cat'; wait"))
			for _, line := range strings.Split(strings.TrimSpace(r.Err), "\n") {
				if line != "" && !strings.HasPrefix(line, "berth: ") && !strings.HasPrefix(line, "bash: ") {
					t.Errorf("%s: %q in\n%s", program, line, r.Err)
				}
			}
		}
	}
}

// A kernel below the floor is one line, nobody gets in, and what berth-session does
// not need may be missing.
func TestKernelBelowTheFloor(t *testing.T) {
	l := labs.New(t, autoTransport)
	logInOnce(t, l, "alice")
	nosys := l.Path("nosys")
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", nosys, filepath.Join("..", "..", "scripts", "testdata", "nosys.c")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for call, words := range map[string]string{"": "", "close_range": "close_range(2) does not work here", "openat2": "openat2(2) does not work here", "pidfd_open": "pidfd_open(2) does not work here"} {
		r := l.Try("sh", "-c", nosys+" "+call+" -- berth up")
		if (r.Status == 0) != (call == "") || !strings.Contains(r.Err, words) || call != "" && !strings.HasSuffix(r.Err, "berth needs Linux 5.11 or newer\n") {
			t.Errorf("berth up without %s: %+v", call, r)
		}
	}
	for _, program := range programs {
		as := "setpriv --reuid alice --regid alice --init-groups " + program + " -c 'echo in'"
		if r := l.Try("sh", "-c", nosys+" openat2 pidfd_open -- "+as); r.Out != "in\n" || r.Err != "" || r.Status != 0 {
			t.Errorf("%s: %+v", program, r)
		}
		r := l.Try("sh", "-c", nosys+" close_range -- "+as)
		if r.Out != "" || r.Status != 255 || strings.Count(r.Err, "\n") != 1 || !strings.HasPrefix(r.Err, "berth: this host lacks close_range(2)") || !strings.Contains(r.Err, "needs Linux 5.11 or newer") {
			t.Errorf("%s: %+v", program, r)
		}
	}
}
