// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/test/labs"
)

// `berth up` takes up a new berth-guest and new rules, and no session notices.
func TestUpgrade(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice", "bob")
	before := stableState(t, l)
	keeper, server := serving(t, l)
	sessions := openBatch(t, l)
	// Another file under the same name, as an installation leaves it.
	path := l.Path("guest/berth-guest")
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", append(program, 0), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	l.Exec(t, "sh", "-c", "printf '[users]\\nuid_max = "+l.UID(t, "alice")+"\\n[session]\\nlimit = 60\\n' >>/etc/berth/berth.toml")
	for range 5 { // several administrators at once, or one who is impatient
		if out, err := exec.Command("docker", "kill", "--signal", "HUP", l.Container(t)).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	if err := errors.Join(syscall.Kill(keeper, syscall.SIGHUP), syscall.Kill(keeper, syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, "runs") || strings.Contains(out, "should be") {
		t.Errorf("berth up: %s", out)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		now, next := serving(t, l)
		old, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", now))
		return now == keeper && next != server && !strings.HasSuffix(old, "(deleted)"), fmt.Sprint(now, next, old)
	})
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("a login after it: %+v", r)
	}
	if r := labs.Finish(l.SSH("bob", "id")); r.Status != 255 || !strings.Contains(r.Err, "not one of this gateway's users") {
		t.Errorf("bob is out of range now: %+v", r)
	}
	checkAnswers(t, sessions)
	forEach(sessions, (*openSession).end)
	awaitState(t, l, before)
}

// Where there is no room for new servers the old ones go on, and the answer says why.
func TestRenewalWithoutRoom(t *testing.T) {
	l := labs.New(t, "[container]\npids_limit = 300\nuser_processes = 4000\n")
	logInOnce(t, l, "alice", "bob")
	serving(t, l)
	before, err := keeper(l).Count()
	if err != nil {
		t.Fatal(err)
	}
	bob := startTyping(t, l, "bob")
	h := startAttacker(t, l, fillPIDs)
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		n := cgroupNumber(t, l, "pids", "pids.current")
		return n >= 299, fmt.Sprint(n)
	})
	if err := keeper(l).Renew(); err == nil || !strings.Contains(err.Error(), "Resource temporarily unavailable") {
		t.Errorf("the answer: %v", err)
	}
	now, err := keeper(l).Count()
	if err != nil || now.Server != before.Server || now.Standby != before.Standby || now.Spawner != before.Spawner {
		t.Errorf("%+v became %+v, %v", before, now, err)
	}
	h.disconnect()
	awaitEndOfAlice(t, l)
	bob.finish(t)
	// With room it is done.
	if err := keeper(l).Renew(); err != nil {
		t.Error(err)
	}
	if now, err := keeper(l).Count(); err != nil || now.Server == before.Server || now.Spawner == before.Spawner {
		t.Errorf("%+v became %+v, %v", before, now, err)
	}
}

// A session that waits until its user's last one is swept up after is let in by the
// berth-init that takes over meanwhile.
func TestWaitingSessionSurvivesRenewal(t *testing.T) {
	l := labs.New(t, "")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice")
	before := stableState(t, l)
	if r := labs.Finish(l.SSH("alice", "BERTH_PROBE=litter /home/probe /tmp/litter 100000")); r.Out != "littered\n" {
		t.Fatalf("%+v", r)
	}
	sweeper := sweeperOf(t, l, "alice")
	if err := syscall.Kill(sweeper, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h, said := startOnScreen(t, l, "echo in; read x")
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		sessions, err := keeper(l).List()
		return len(sessions) == 1, fmt.Sprint(sessions, err)
	})
	if err := keeper(l).Renew(); err != nil {
		t.Error(err)
	}
	said.await(t, "in")
	if all := processesOf(t, l, "alice"); slices.Contains(all, sweeper) {
		t.Errorf("the stopped sweep %d is there: %d", sweeper, all)
	}
	h.disconnect()
	awaitEndOfAlice(t, l)
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		out, _ := exec.Command("docker", "exec", l.Container(t), "ls", "-A", "/tmp").Output()
		return string(out) == "", string(out)
	})
	logInOnce(t, l, "alice") // whose PAM session looks after what was started meanwhile
	awaitState(t, l, before)
}
