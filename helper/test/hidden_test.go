// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/labs"

	"golang.org/x/sys/unix"
)

// Users do not see each other's processes, from the first login after the container's start;
// their own they see and can trace.
func TestProcessesAreHidden(t *testing.T) {
	l := labs.New(t, "")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice", "bob", "carol")
	if out, err := exec.Command("docker", "restart", "--time", "1", l.Container(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Without PAM, which would do it.
	bob, said := startOnScreenAs(t, l, "bob", "echo pid $$.; exec -a bobs-sleep sleep 3000")
	said.await(t, ".")
	_, pid, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(said.String()), "."), "pid ")
	look := "ps -eo args | grep -c '^bobs-sleep'; cat /proc/" + pid + "/comm; ls -d /proc/1"
	direct := func(user, command string) labs.Result {
		return labs.Finish(l.AsUser(user, "env", "-i", "SSH_ORIGINAL_COMMAND="+command, "/usr/libexec/berth/berth-session"))
	}
	if r := direct("alice", look); r.Out != "1\nsleep\n/proc/1\n" {
		t.Errorf("before anybody has settled it alice sees bob's: the test shows nothing if not: %+v", r)
	}
	logInOnce(t, l, "carol")
	if r := direct("alice", look); r.Out != "0\n" || strings.Count(r.Err, "No such file") != 2 {
		t.Errorf("alice: %+v", r)
	}
	if r := direct("bob", "ps -eo args | grep -c '^bobs-sleep'; cat /proc/"+pid+"/comm"); r.Out != "1\nsleep\n" {
		t.Errorf("bob: %+v", r)
	}
	others := "ps -eo user= | grep -vcx alice; top -bn1 | sed 1,7d | grep -vc alice; for p in /proc/[0-9]*; do stat -c %U $p; done | sort -u"
	if r := direct("alice", others); r.Out != "0\n0\nalice\n" {
		t.Errorf("whom alice sees: %+v", r)
	}
	own := "tmux new-session -d 'exec sleep 3000'; pgrep -c -u alice -x sleep; " +
		"sleep 3000 & BERTH_PROBE=seize /home/probe $!; kill $!; tmux kill-server"
	if r := direct("alice", own); r.Out != "1\nup\nseized\n" {
		t.Errorf("what alice does with her own: %+v", r)
	}
	// Container root's processes see all: the engine's, too.
	out, err := exec.Command("docker", "exec", l.Container(t), "ps", "-eo", "args").Output()
	if err != nil || !strings.Contains(string(out), "bobs-sleep") {
		t.Errorf("root: %s, %v", out, err)
	}
	bob.disconnect()
}

func init() {
	// Cannot be traced, ignores what it can, and stays.
	probes["undumpable"] = func([]string) string {
		signal.Ignore(unix.SIGHUP, unix.SIGTERM)
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return err.Error()
		}
		fmt.Println("up")
		return fmt.Sprint(unix.Pause())
	}
}

// What a session leaves is ended whether its user sees it or not: ssh-agent, for example, hides
// from its own.
func TestHiddenProcessesEnd(t *testing.T) {
	logInOnce(t, lab, "alice", "bob")
	before := stableState(t, lab)
	const left = "eval $(ssh-agent) >/dev/null; BERTH_PROBE=undumpable setsid /home/probe </dev/null 2>&1 | " +
		"(read word; pgrep -c -x 'ssh-agent|probe'; echo $word; exec sleep 3000)"
	for _, end := range []string{"client gone", "supervisor killed"} {
		h, said := startOnScreen(t, lab, left)
		said.await(t, "up")
		there := strings.Join(slices.Collect(maps.Values(inContainer(lab))), "\n")
		if said.String() != "0\nup\n" || !strings.Contains(there, "ssh-agent") || !strings.Contains(there, "/home/probe") {
			t.Errorf("alice sees what should hide from her, or it is not there: the test shows nothing: %s\n%s", said, there)
		}
		start := time.Now()
		if end == "supervisor killed" {
			if err := syscall.Kill(watchers(t, lab, "alice")[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		} else {
			h.disconnect()
		}
		awaitEndOfAlice(t, lab)
		t.Logf("%s: nothing is left after %v", end, time.Since(start).Round(time.Millisecond))
		h.disconnect()
	}
	awaitState(t, lab, before)
}
