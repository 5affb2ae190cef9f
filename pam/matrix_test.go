// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oddHost is a host with habits (testdata/traits.c).
type oddHost struct {
	name, traits string
	before       string // a shell line, in the namespace
	children     string // what its own became, if not 5 and 7
	answer       string // if not that all went well
	sessions     int    // if not one
	news         bool   // that a child ended is pending in the end
}

// noChildren is what a host sees of its children that wants to see nothing.
const noChildren = "children -1 -1"

// hostileEnvironment is an environment that no root program may honour.
const hostileEnvironment = "LD_PRELOAD=/nonexistent/evil.so LD_LIBRARY_PATH=/tmp LD_AUDIT=/nonexistent/evil.so GODEBUG=inittrace=1,gctrace=1 GOGC=off GOMEMLIMIT=bogus GOTRACEBACK=crash GOMAXPROCS=0 " +
	"GLIBC_TUNABLES=glibc.malloc.check=3 MALLOC_CHECK_=3 MALLOC_PERTURB_=165 MALLOC_ARENA_MAX=1 TMPDIR=/nonexistent HOME=/nonexistent PATH=/nonexistent IFS=x BASH_ENV=/nonexistent ENV=/nonexistent LC_ALL=xx"

// unprivileged takes from the host, and so from the worker, the right to raise
// its limits, as containers do.
const unprivileged = `set -- setpriv --bounding-set -sys_resource,-sys_admin --inh-caps -sys_resource,-sys_admin "$@"`

var oddHosts = []oddHost{
	{name: "none"},
	{name: "forks before pam_start", traits: "fork-before-start"},
	{name: "forks between pam_start and open", traits: "fork-started"},
	{name: "forks between open and close", traits: "fork-opened"},
	{name: "forks after close, and again", traits: "fork-closed", sessions: 2},
	{name: "threads that work", traits: "threads"},
	{name: "threads that work, forks", traits: "threads fork-started"},
	{name: "a thread that steals children", traits: "thief"},
	{name: "threads that work, and one that steals", traits: "threads thief"},
	{name: "threads that open at once", traits: "crowd"},
	{name: "threads that open at once, a SIGCHLD handler", traits: "handler crowd"},
	{name: "SIGCHLD ignored", traits: "ignore", children: noChildren},
	{name: "SA_NOCLDWAIT", traits: "nocldwait", children: noChildren},
	{name: "a SIGCHLD handler that reaps", traits: "handler"},
	{name: "every signal blocked", traits: "blocked buried"},
	{name: "every signal blocked, SIGCHLD pending", traits: "blocked pending"},
	{name: "a child ends meanwhile", traits: "loses-child"},
	{name: "a child ends meanwhile, SIGCHLD ignored", traits: "ignore loses-child", children: noChildren},
	{name: "a child ends meanwhile, SA_NOCLDWAIT", traits: "nocldwait loses-child", children: noChildren},
	{name: "a child ends meanwhile, a SIGCHLD handler", traits: "handler loses-child"},
	{name: "a child ends meanwhile, a thread that steals", traits: "thief loses-child"},
	{name: "a child ends meanwhile, every signal blocked", traits: "blocked buried loses-child", news: true},
	{name: "RLIMIT_NPROC 1", traits: "nproc"},
	{name: "RLIMIT_AS 200 MB", traits: "as"},
	{name: "RLIMIT_NOFILE 8, six taken", traits: "nofile=2"},
	{name: "RLIMIT_FSIZE 0", traits: "fsize"},
	{name: "umask 0", traits: "umask=0"},
	{name: "umask 0777", traits: "umask=0777"},
	{name: "called by a user", traits: "ruid"},
	{name: "called by a user, with his gid", traits: "gid ruid"},
	{name: "called by a user, with his effective gid", traits: "egid ruid"},
	{name: "called by a user, RLIMIT_NPROC 1", traits: "ruid nproc"},
	{name: "no /proc", traits: "noproc"},
	{name: "no standard files", traits: "nostdio"},
	{name: "no standard error", traits: "nostderr"},
	{name: "deleted cwd", traits: "nocwd"},
	{name: "hostile environment", traits: hostileEnvironment},
	{name: "all of it", traits: "gid ruid threads blocked buried umask=0 nproc as fsize noproc nostdio nocwd nofile=2 " + hostileEnvironment},
	{name: "all of it, children stolen", traits: "thief threads umask=0777 nproc as fsize noproc nostdio nocwd nofile=2 " + hostileEnvironment},
	{name: "RLIMIT_NPROC 1, not to be raised", traits: "hard nproc", before: unprivileged},
}

// In whatever host: the session is opened and closed, by the worker and without
// it, the home is whole, and nothing of the host is another than before, its own
// children included.
func TestHostMatrix(t *testing.T) {
	for _, h := range oddHosts {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			log := s.listen()
			for _, round := range []string{"no home", "all in place", "no home, a script", "all in place, a script"} {
				first := strings.HasPrefix(round, "no home")
				if first {
					s.must(os.RemoveAll(s.home()))
				}
				options := ""
				if strings.HasSuffix(round, "script") { // the worker runs at the close, too
					options = "exec=/bin/true exec_failure=deny"
				}
				s.write("pam.d/test", "session required "+built.module+" "+options+"\n", 0o644)
				out := h.try(t, s, first)
				if told := strings.Contains(out, "says Creating directory '/home/nina'.\n"); told != first {
					t.Errorf("%s: %s", round, out)
				}
				s.checkHome(0o750)
				if t.Failed() {
					t.Fatalf("%s: %s\n%s", round, out, log.lines())
				}
			}
			for _, line := range strings.Split(strings.TrimSpace(log.lines()), "\n") {
				if !strings.HasSuffix(line, "made /home/nina for nina\x00") && !strings.HasSuffix(line, "made /home/nina for nina") {
					t.Errorf("logged: %q", line)
				}
			}
		})
	}
}

func (h oddHost) try(t *testing.T, s *site, first bool) string {
	t.Helper()
	out := s.host(h.before, append([]string{user, "odd"}, strings.Fields(h.traits)...)...)
	answer := "open 0 close 0 unchanged\n"
	if h.answer != "" {
		answer = h.answer
	}
	if h.news && first {
		answer = "open changed: - ShdPnd:\t0000000000000000\nopen changed: + ShdPnd:\t0000000000010000\nopen 0 close 0\n"
	}
	if n := strings.Count(out, answer); n != max(h.sessions, 1) {
		t.Errorf("%d sessions ended with %q:\n%s", n, answer, out)
	}
	children := "children 5 7"
	if h.children != "" {
		children = h.children
	}
	checkLines(t, out, children+" left 0\n")
	s.checkNoWorker()
	return out
}

// Where a limit is so low that the worker cannot work, and root may not raise
// it: the answer that the manual page tells, nothing half-made, and the host as
// untouched as ever. What is in place still is.
func TestScarceHosts(t *testing.T) {
	for _, h := range []struct {
		oddHost
		log, placed string
	}{
		{oddHost{name: "RLIMIT_AS 200 MB", traits: "hard as", answer: "open 14 close 6 unchanged\n"}, "ended without a result", ""},
		{oddHost{name: "RLIMIT_NOFILE 8", traits: "hard nofile=2", answer: "open 14 close 6 unchanged\n"}, "ended without a result", ""},
		{oddHost{name: "RLIMIT_FSIZE 0", traits: "hard fsize", answer: "open 6 close 6 unchanged\n"}, "file too large", ""},
		{oddHost{name: "one descriptor left", traits: "nofile=1", answer: "open 4 close 6 unchanged\n"}, "pipe: Too many open files", "open 4 close 6 unchanged\n"},
		// The module says 10; libpam says 4 where it cannot write to the audit log.
		{oddHost{name: "no descriptor left", traits: "nofile=0", answer: "open 4 close 4 unchanged\n"}, "the user is not known", "open 4 close 4 unchanged\n"},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			h.before = unprivileged
			s := newSite(t, "")
			log := s.listen()
			h.try(t, s, true)
			s.checkNoHome()
			checkLines(t, s.session("", user), "open 0")
			h.answer = h.placed
			h.try(t, s, false)
			s.checkHome(0o750)
			checkLines(t, log.lines(), h.log)
		})
	}
}

// Of a hostile environment neither the worker nor the site's script sees a thing.
func TestWorkerEnvironment(t *testing.T) {
	dir, path := program(t, `{ tr '\0' '\n' </proc/$PPID/environ; env; } >"$(dirname "$0")/said"`)
	s := newSite(t, "exec_failure=deny exec="+path)
	checkLines(t, s.host("", append([]string{user, "odd"}, strings.Fields(hostileEnvironment)...)...), "open 0 close 0 unchanged")
	for _, line := range strings.Fields(s.text(filepath.Join(dir, "said"))) {
		if name, value, _ := strings.Cut(line, "="); strings.Contains(hostileEnvironment, line) || name != "PATH" && name != "PWD" && !strings.HasPrefix(name, "PAM_") && name != "_" && name != "SHLVL" && name != "OLDPWD" {
			t.Errorf("%s=%s", name, value)
		}
	}
}

// checkNoWorker checks that of the module's programs none runs in the site.
func (s *site) checkNoWorker() {
	s.t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	s.must(err)
	for _, link := range links {
		if exe, _ := os.Readlink(link); exe != built.module {
			continue
		}
		if mounts, _ := os.ReadFile(filepath.Dir(link) + "/mountinfo"); strings.Contains(string(mounts), filepath.Base(s.dir)+"/") {
			s.t.Errorf("a worker is left: %s", link)
		}
	}
}
