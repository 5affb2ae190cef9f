// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"berth/test/labs"

	"golang.org/x/sys/unix"
)

func init() {
	// Opens terminals until it gets no more, and says how many it had.
	probes["terminals"] = func(args []string) string {
		most, _ := strconv.Atoi(args[0])
		for n := range most {
			if _, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0); err != nil {
				return fmt.Sprintf("%d: %v", n, err)
			}
		}
		return args[0]
	}
}

// A container has a bound of its own for terminals: `berth up` sets it, and after a
// restart that nobody of berth's had a hand in, the next login's PAM session.
func TestTerminalsAreBounded(t *testing.T) {
	l := labs.New(t, "[container]\npty_max = 40\n")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice", "bob")
	// docker exec asks no PAM: what it sees is what was set before. Carol has no
	// session that could end, and her processes with it.
	carol := l.UID(t, "carol")
	inside := func() string {
		out, err := exec.Command("docker", "exec", "--user", carol+":"+carol, "--env", "BERTH_PROBE=terminals", l.Container(t), "/home/probe", "200").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	bounded := "40: no space left on device"
	if got := inside(); got != bounded {
		t.Errorf("after berth up: %s", got)
	}
	if out, err := exec.Command("docker", "restart", "--time", "1", l.Container(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := inside(); got != "200" {
		t.Errorf("after a restart nobody has bounded them, and there are %s", got)
	}
	if r := labs.Finish(l.SSH("alice", "BERTH_PROBE=terminals /home/probe 200; stat -L -c %a /dev/ptmx /dev/pts/ptmx")); r.Out != bounded+"\n666\n666\n" {
		t.Errorf("alice: %+v", r)
	}
	if keeper(l).Unsettled() {
		t.Error("the next login has something to do again")
	}
	s := labs.Finish(l.SSH("bob", "-tt", "tty; stat -c '%a %g' $(tty)"))
	if !strings.Contains(s.Out, "/dev/pts/") || !strings.Contains(s.Out, "620 5") {
		t.Errorf("a terminal after it: %+v", s)
	}
}

// While a container cannot be settled, not every login tries it; each start of the
// container has it tried at once.
func TestFailedSettleIsRetriedLater(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice")
	l.Exec(t, "sh", "-c", `mv /usr/sbin/berth /usr/sbin/berth.good; printf '#!/bin/sh\necho x >>/run/tried\nexit 3\n' >/usr/sbin/berth; chmod 755 /usr/sbin/berth; : >/run/tried`)
	tries := func(want int) {
		t.Helper()
		for range 3 {
			logInOnce(t, l, "alice")
		}
		if n := strings.Count(l.Exec(t, "cat", "/run/tried"), "x"); n != want {
			t.Errorf("%d tries, want %d", n, want)
		}
	}
	tries(0)
	for n := range 2 {
		if out, err := exec.Command("docker", "restart", "--time", "1", l.Container(t)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		tries(n + 1)
	}
	if log := l.Exec(t, "cat", l.Path("log")); !strings.Contains(log, "prepare: /usr/sbin/berth: exit status 3") || strings.Contains(log, "exec: /usr/sbin/berth") {
		t.Errorf("the log:\n%s", log)
	}
	l.Exec(t, "touch", "-d", "61 seconds ago", l.Path("serve/unsettled"))
	tries(3)
	l.Exec(t, "sh", "-c", "mv /usr/sbin/berth.good /usr/sbin/berth; touch -d '61 seconds ago' "+l.Path("serve/unsettled"))
	tries(3)
	if keeper(l).Unsettled() {
		t.Error("it is not settled")
	}
}

// A server that dies when there is room for nothing new has its successor by its
// side.
func TestServerDiesAtProcessLimit(t *testing.T) {
	l := labs.New(t, "[container]\npids_limit = 300\nuser_processes = 4000\n")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice", "bob")
	bob := startTyping(t, l, "bob")
	_, server := serving(t, l)
	h := startAttacker(t, l, fillPIDs)
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		n := cgroupNumber(t, l, "pids", "pids.current")
		return n >= 299, fmt.Sprint(n)
	})
	if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Root is refused in the server's own words: it answers.
	labs.Eventually(t, endTimeout, func() (bool, string) {
		c, err := keeper(l).Count()
		if err != nil || c.Server == 0 || hostPID(l, c.PID, c.Server) == server {
			return false, fmt.Sprint(c, err)
		}
		said := runProbe(t, l, "root", "session", socket, "id")
		return strings.Contains(said, "root"), said
	})
	h.disconnect()
	awaitEndOfAlice(t, l)
	bob.finish(t)
	serving(t, l) // and another stands by
	if r := labs.Finish(l.SSH("bob", "id -un")); r.Out != "bob\n" {
		t.Errorf("bob: %+v", r)
	}
}

// `berth up` does not say that all is well over a container that ends as soon as it
// is started, or serves nobody.
func TestUpReportsCause(t *testing.T) {
	l := labs.New(t, "")
	program := l.Path("guest/berth-guest")
	spoil := func(path, by string) {
		t.Helper()
		if out, err := exec.Command("sh", "-c", "mv "+path+" "+path+".good && cp "+by+" "+path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	mend := func(path string) {
		t.Helper()
		if err := os.Rename(path+".good", path); err != nil {
			t.Fatal(err)
		}
	}
	spoil(program, "/usr/bin/false")
	r := l.Try("sh", "-c", "berth down && berth up")
	if r.Status != 1 || !strings.Contains(r.Err, "serves no sessions") {
		t.Errorf("no server: %+v", r)
	}
	if r := l.Try("berth", "status"); r.Status != 1 || !strings.Contains(r.Out, "logins      fail: ") {
		t.Errorf("status: %+v", r)
	}
	mend(program)
	program = l.Path("guest/berth-init")
	spoil(program, "/usr/bin/false")
	r = l.Try("sh", "-c", "berth down && berth up")
	if r.Status != 1 || !strings.Contains(r.Err, "ends right after each start, ") {
		t.Errorf("a crash loop: %+v", r)
	}
	mend(program)
	if out := l.Exec(t, "sh", "-c", "berth down && berth up && berth status"); !strings.Contains(out, "logins      work") {
		t.Errorf("mended: %s", out)
	}
}
