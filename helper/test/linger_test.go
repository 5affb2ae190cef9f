// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/labs"
)

// leaves is a session that ends and leaves two processes: one can save its work when it is
// told to end, and one must be killed.
const leaves = `(setsid bash -c 'trap "" HUP; trap "echo saved >~/saved; exit" TERM; while :; do sleep 0.05; done' >/dev/null 2>&1 </dev/null &)
	(setsid bash -c 'trap "" HUP TERM; while :; do sleep 0.05; done' >/dev/null 2>&1 </dev/null &)
	echo kept >/tmp/kept; echo up`

// lingering has such a session of alice's, and returns when it has ended.
func lingering(t *testing.T, l *labs.Lab) {
	t.Helper()
	l.Exec(t, "rm", "-f", "/home/alice/saved")
	h, said := startOnScreen(t, l, leaves)
	said.await(t, "up")
	_ = h.cmd.Wait()
	if n := len(processesOf(t, l, "alice")); n < 3 {
		t.Fatalf("%d processes linger", n)
	}
}

func saved(l *labs.Lab) bool { return l.Try("cat", "/home/alice/saved").Out == "saved\n" }

// With a time, what a session leaves lives for so long, is then ended as after any session,
// and with it goes what it left in memory.
func TestLingerForATime(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice")
	before := stableState(t, l)
	setRules(t, l, "linger=3")
	for _, c := range []struct {
		name    string
		stopped bool
	}{{"watched", false}, {"stopped", true}} {
		lingering(t, l)
		begin := time.Now()
		if c.stopped { // its supervisor: then the keeper ends it
			for _, pid := range watchers(t, l, "alice") {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
		if err := keeper(l).Renew(); err != nil { // its time goes on
			t.Error(err)
		}
		time.Sleep(2*time.Second - time.Since(begin)) // the time in which nothing may happen
		if n := len(processesOf(t, l, "alice")); n < 3 {
			t.Errorf("%s: after 2 of 3 seconds %d processes are left", c.name, n)
		}
		labs.Eventually(t, 15*time.Second, func() (bool, string) {
			left := processesOf(t, l, "alice")
			return len(left) == 0, fmt.Sprint(left)
		})
		t.Logf("%s: ended after %v", c.name, time.Since(begin).Round(10*time.Millisecond))
		if saved(l) == c.stopped {
			t.Errorf("%s: told to end: %t", c.name, saved(l))
		}
		labs.Eventually(t, labs.Patience, func() (bool, string) {
			out, _ := exec.Command("docker", "exec", l.Container(t), "ls", "-A", "/tmp").Output()
			return string(out) == "", string(out)
		})
	}
	// Who leaves nothing that runs keeps the files.
	h, said := startOnScreen(t, l, "echo kept >/tmp/kept; echo up")
	said.await(t, "up")
	_ = h.cmd.Wait()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		c, err := keeper(l).Count()
		return err == nil && c.Sessions == 0 && c.Ending == 0, fmt.Sprint(c, err)
	})
	if out, err := exec.Command("docker", "exec", l.Container(t), "ls", "-A", "/tmp").Output(); string(out) != "kept\n" {
		t.Errorf("%q, %v", out, err)
	}
	logInOnce(t, l, "alice") // whose PAM session looks after what was started meanwhile
	awaitState(t, l, before)
}

// Without an end of its own, what lingers is ended by an administrator, who gives it the time
// that it has after any session; and by the container's stop.
func TestLingeringSessionIsEnded(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice")
	setRules(t, l, "linger=-1")
	for name, end := range map[string]func(){
		"by an administrator": func() {
			all, err := keeper(l).List()
			if err != nil || len(all) != 1 {
				t.Fatalf("%+v, %v", all, err)
			}
			if err := keeper(l).End(all[0].PID, ""); err != nil {
				t.Error(err)
			}
		},
		"by a stop": func() {
			if out, err := exec.Command("docker", "restart", l.Container(t)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			awaitKeeper(t, l)
		},
	} {
		lingering(t, l)
		end()
		labs.Eventually(t, 2*endTimeout, func() (bool, string) {
			left := processesOf(t, l, "alice")
			return len(left) == 0, fmt.Sprintf("%s: %d", name, left)
		})
		if !saved(l) {
			t.Errorf("%s: nobody was told to end", name)
		}
		if log := containerLog(t, l); strings.Contains(log, "does not end its session") {
			t.Errorf("%s: the log:\n%s", name, log)
		}
	}
}
