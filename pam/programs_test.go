// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// byLogin runs login(1) on a terminal, and what a session sees in it.
const byLogin = `#!/usr/bin/expect -f
set timeout 20
spawn -noecho {*}$argv
expect {
	"Password: " { send "berth\r"; exp_continue }
	"$ " { send "exec [file dirname $argv0]/seen\r" }
	timeout { exit 1 }
}
expect eof
lassign [wait] pid id failed status
exit $status
`

// byCron has cron run a job, and ends it when its children have ended: with
// them the session. Jobs of @reboot run at once, if /run is a fresh one.
const byCron = `rm -f $S/out/said; echo "@reboot nina $S/seen >$S/out/said 2>&1" >$S/cron.d/job
cron -f & cron=$!
for i in $(seq 300); do
	[ -s $S/out/said ] && [ -z "$(cat /proc/$cron/task/$cron/children)" ] && break
	sleep 0.1
done
kill $cron; cat $S/out/said`

// programs open and close a session of nina's. What is seen is sorted (lines).
var programs = []struct{ name, run, sees string }{
	{"su", "su nina -c $S/seen", "in nina /"},
	{"su -", "su - nina -c $S/seen", "in nina /home/nina\nprofile"},
	{"su by a user", "rob su nina -c $S/seen <<<berth", "in nina /"},
	{"su - by a user", "rob su - nina -c $S/seen <<<berth", "in nina /home/nina"},
	{"sudo", "sudo -u nina $S/seen", "in nina /"},
	{"sudo by a user", "rob sudo -u nina $S/seen", "in nina /"},
	{"sudo -i", "sudo -i -u nina $S/seen", "in nina /home/nina\nprofile"},
	{"sudo -i by a user", "rob sudo -i -u nina $S/seen", "in nina /home/nina\nprofile"},
	{"runuser", "runuser nina -c $S/seen", "in nina /"},
	{"runuser -", "runuser - nina -c $S/seen", "in nina /home/nina\nprofile"},
	{"login", "expect -f $S/login login nina", "in nina /home/nina"},
	{"login -f", "expect -f $S/login login -f nina", "in nina /home/nina"},
	{"cron", byCron, "in nina /home/nina"},
	{"pamtester", "pamtester su nina open_session close_session", "pamtester: session has successfully been closed.\npamtester: successfully opened a session"},
}

// With each program of a host, in its own PAM stack: it works, the home is
// whole, it prints what it prints with pam_mkhomedir in the same place and no
// more, nothing is left beside its children, and what is opened is closed.
func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newMachine(t, "MODULE")
			s.write("login", byLogin, 0o755)
			s.shell("mkdir -m 1777 " + s.dir + "/out")
			log := s.listen()
			try := func() string {
				out := lines(s.do(furnish + p.run))
				want(t, out, p.sees)
				for _, bad := range []string{"beside:", "lost the way"} {
					if strings.Contains(out, bad) {
						t.Errorf("left by the module: %s", out)
					}
				}
				s.noWorker()
				return out
			}
			first := try()
			s.whole(0o750)
			again := try()
			s.whole(0o750)

			s.shell("rm -r " + s.home())
			s.stack("pam_mkhomedir.so")
			for what, outs := range map[string][2]string{"first": {first, try()}, "again": {again, try()}} {
				if outs[0] != outs[1] {
					t.Errorf("%s: printed\n%s\nand with pam_mkhomedir\n%s", what, outs[0], outs[1])
				}
			}

			// The worker at the opening, and again at the closing.
			dir, path := program(t, `echo "$PAM_USER $PAM_TYPE" >>"$(dirname "$0")/said"`)
			s.shell("rm -r " + s.home())
			s.stack("MODULE exec_failure=deny exec=" + path)
			try()
			s.whole(0o750)
			said := s.text(filepath.Join(dir, "said"))
			if n := strings.Count(said, "nina open_session\n"); n == 0 || strings.Count(said, "nina close_session\n") != n || strings.Count(said, "\n") != 2*n {
				t.Errorf("opened and closed: %s", said)
			}
			for _, line := range strings.Split(log.lines(), "\n") {
				if strings.Contains(line, "pam_berth") && !strings.Contains(line, "made /home/nina for nina") {
					t.Errorf("logged: %s", line)
				}
			}
		})
	}
}

// lines is a terminal's or a pipe's text, without the order in which a program
// flushed its own lines and the session's.
func lines(out string) string {
	all := strings.Split(strings.ReplaceAll(out, "\r", ""), "\n")
	slices.Sort(all)
	return fmt.Sprintln(strings.Join(all, "\n"))
}
