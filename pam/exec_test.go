// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program writes a site's script into a directory that is root's up to the root.
func program(t *testing.T, text string) (dir, path string) {
	t.Helper()
	dir = rootsDir(t)
	path = filepath.Join(dir, "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// The script runs as root, after the home is there, at the opening and at the
// closing, and is told what pam_exec(8) tells.
func TestExec(t *testing.T) {
	dir, path := program(t, `{ id -u; id -ru; id -G; pwd; umask; ls -A /home/nina | tr '\n' ' '; echo; env | sort; ls /proc/self/fd | wc -l; } >>"$(dirname "$0")/said"; echo hello; echo warn >&2`)
	s := newSite(t, "exec="+path)
	log := s.listen()
	for range 2 { // a first home, and one that is in place
		checkLines(t, s.session("GO=off LD_PRELOAD=; export GO", user), "open 0 close 0")
	}
	s.checkHome(0o750)
	said := s.text(filepath.Join(dir, "said"))
	checkLines(t, said, "0\n0\n0\n/\n0077\n.profile .ssh link sub \n", "PAM_TYPE=open_session\n", "PAM_TYPE=close_session\n", "PAM_USER=nina\n", "PAM_SERVICE=test\n",
		"\n4\n") // its three and ls's own
	if n := strings.Count(said, "PAM_TYPE=open_session"); n != 2 || strings.Count(said, "close_session") != 2 {
		t.Errorf("%d openings:\n%s", n, said)
	}
	if strings.Contains(said, "GO=") {
		t.Errorf("the caller's environment arrived:\n%s", said)
	}
	checkLines(t, log.lines(), "exec: hello", "exec: warn")
}

func TestExecFailure(t *testing.T) {
	_, path := program(t, "echo broken; exit 3")
	for failure, answer := range map[string]string{"": "open 0 close 0", "exec_failure=ignore": "open 0 close 0", "exec_failure=deny": "open 14 close 14", "exec_failure=dney": "open 0"} {
		s := newSite(t, "exec="+path+" "+failure)
		log := s.listen()
		out := s.session("", user)
		checkLines(t, out, answer)
		checkLines(t, log.lines(), "exec: broken", "exit status 3")
		if told := strings.Contains(out, "says Your session could not be prepared"); told != (failure == "exec_failure=deny") {
			t.Errorf("%s: %s", failure, out)
		}
		s.checkHome(0o750)
	}
}

// A script that does not end is ended, with what it started, and neither a
// daemon of its own nor its chatter holds the login up.
func TestExecThatIsSlow(t *testing.T) {
	for name, c := range map[string]struct{ script, log string }{
		"hangs":     {"sleep 1000 & echo $! >$(dirname $0)/pid; sleep 1000", "was not done in time and was killed"},
		"a daemon":  {"sleep 5 & exit 0", ""},
		"chatter":   {"yes | head -c 10000000", "exec: 4999980 lines more"},
		"long line": {"head -c 10000000 /dev/zero | tr '\\0' x; echo; echo last", "exec: last"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, path := program(t, c.script)
			s := newSite(t, "timeout=2 exec_failure=deny exec="+path)
			log := s.listen()
			start := time.Now()
			out := s.session("", user)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			text := log.lines()
			checkLines(t, text, c.log)
			if n := strings.Count(text, "exec: "); n > 45 {
				t.Errorf("%d lines", n)
			}
			if name != "hangs" {
				checkLines(t, out, "open 0 close 0")
				return
			}
			checkLines(t, out, "open 14")
			pid := strings.TrimSpace(s.text(filepath.Join(dir, "pid")))
			if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !strings.Contains(string(stat), ") Z") {
				t.Errorf("its child lives: %s", stat)
			}
		})
	}
}

// Only what is root's alone is run as root.
func TestExecThatIsRefused(t *testing.T) {
	dir, path := program(t, "echo ran >$(dirname $0)/ran")
	for name, spoil := range map[string]string{
		"writable":                "chmod 775 $P",
		"somebody's":              "chown 4711 $P",
		"in a writable directory": "chmod 777 $D",
		"in somebody's":           "chown 4711 $D",
		"an access control list":  "setfacl -m u:4711:rwx $P",
		"not executable":          "chmod 644 $P",
		"missing":                 "mv $P $P.gone",
		"a directory":             "rm $P; mkdir $P",
		"a FIFO":                  "rm $P; mkfifo $P",
		"her link to it":          "chmod 755 $D; mv $P $P.real; ln -s $P.real $P; chmod 1777 $D; chown -h 4711 $P",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "exec_failure=deny exec="+path)
			log := s.listen()
			s.shell("cp -a " + dir + " " + dir + ".kept")
			defer s.shell("rm -rf " + dir + "; mv " + dir + ".kept " + dir)
			out := s.session("D="+dir+" P="+path+"; "+spoil, user)
			checkLines(t, out, "open 14", "says Your session could not be prepared")
			checkLines(t, log.lines(), "exec: ")
			if _, err := os.Lstat(filepath.Join(dir, "ran")); err == nil {
				t.Error("it ran")
			}
		})
	}
	s := newSite(t, "exec_failure=deny exec=script")
	checkLines(t, s.session("", user), "open 14")
	// And those who are not served are spared.
	s = newSite(t, "exec_failure=deny uid_min=5000 exec="+path)
	checkLines(t, s.session("", user), "open 0 close 0")
	if _, err := os.Lstat(filepath.Join(dir, "ran")); err == nil {
		t.Error("it ran")
	}
}
