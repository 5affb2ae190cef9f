// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/labs"
)

// What one user may do to the container that they share with others. Another one
// startTyping all the while and must notice nothing; the container is never restarted, and
// when it is over nothing is left.

// roundCount is how often the quick ones are tried.
const roundCount = 50

// attacker is a session of alice's, who has a command run that says "up" when it has
// done its worst, or is about to.
type attacker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *screen
}

func startAttacker(t *testing.T, l *labs.Lab, command string) *attacker {
	t.Helper()
	h, _ := startOnScreen(t, l, command)
	return h
}

// disconnect lets go of the client's side.
func (h *attacker) disconnect() {
	h.in.Close()
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// containerStart is when the lab's container was started, as the engine has it.
func containerStart(t *testing.T, l *labs.Lab) string {
	t.Helper()
	out, err := exec.Command("docker", "inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", l.Container(t)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// cgroupNumber reads a number of the container's control group.
func cgroupNumber(t *testing.T, l *labs.Lab, controller, file string) int {
	t.Helper()
	c, err := keeper(l).Count()
	if err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("/proc/%d/root/sys/fs/cgroup/", c.PID)
	text, err := os.ReadFile(root + controller + "/" + file)
	if err != nil {
		text, err = os.ReadFile(root + file) // version 2
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// processesOf lists alice's processes in the container, by their pids on this host.
func processesOf(t *testing.T, l *labs.Lab, user string) (pids []int) {
	t.Helper()
	uid := strings.TrimSpace(l.Exec(t, "id", "-u", user))
	line := regexp.MustCompile(`(?m)^Uid:\s` + uid + `\s`)
	for pid := range inContainer(l) {
		if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); line.Match(status) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sweeperOf waits for the process that removes what a user left, the only one of theirs,
// and returns its pid.
func sweeperOf(t *testing.T, l *labs.Lab, user string) (pid int) {
	t.Helper()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		all := processesOf(t, l, user)
		if len(all) == 1 {
			pid = all[0]
		}
		return pid != 0, "nobody sweeps"
	})
	return pid
}

// awaitEndOfAlice waits until nothing of alice's is left, for as long as is promised and a
// little for the look itself.
func awaitEndOfAlice(t *testing.T, l *labs.Lab) {
	t.Helper()
	start := time.Now()
	labs.Eventually(t, 3*endTimeout, func() (bool, string) {
		left := processesOf(t, l, "alice")
		return len(left) == 0, fmt.Sprintf("%d processes of alice's are left", len(left))
	})
	if took := time.Since(start); took > endTimeout+2*time.Second {
		t.Errorf("the last of alice's processes ended after %v", took)
	}
}

// endTimeout is how soon after a session's end nothing of it may be left.
const endTimeout = 5 * time.Second

const fillPIDs = "trap '' HUP TERM; echo up; exec 2>/dev/null; while :; do sleep 3000 & done"

// A1: alice fills the container with processes and kills her own supervisors, and an
// administrator runs `berth up` in the middle of it.
func TestProcessesExhausted(t *testing.T) {
	// One user could not without the second line.
	l := labs.New(t, "transport = \"auto\"\n[container]\npids_limit = 400\nuser_processes = 4000\n")
	logInOnce(t, l, "alice", "bob")
	before := stableState(t, l)
	since := containerStart(t, l)
	first, _ := serving(t, l)
	bob := startTyping(t, l, "bob")
	for round := range roundCount {
		h := startAttacker(t, l, fillPIDs)
		// The attack works: the limit is reached.
		labs.Eventually(t, labs.Patience, func() (bool, string) {
			n := cgroupNumber(t, l, "pids", "pids.current")
			return n >= 399, fmt.Sprintf("%d processes: %s", n, h.out)
		})
		if round%10 == 0 {
			r := l.Try("berth", "up")
			if r.Status == 0 && !strings.Contains(r.Out, " runs\n") {
				t.Errorf("berth up: %+v", r)
			}
			if r.Status != 0 && !strings.Contains(r.Err, "keeps its old rules and programs") && !strings.Contains(r.Err, "serves no sessions") &&
				!strings.Contains(r.Err, "berth-guest ends with status") {
				t.Errorf("berth up: %+v", r)
			}
		}
		for _, pid := range processesOf(t, l, "alice") {
			if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(args), "berth-init\x00watch") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		awaitEndOfAlice(t, l)
		h.disconnect()
		if t.Failed() {
			break
		}
	}
	bob.finish(t)
	if now, _ := serving(t, l); now != first || containerStart(t, l) != since {
		t.Errorf("the container was restarted: keeper %d, then %d; %s, then %s", first, now, since, containerStart(t, l))
	}
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, " runs\n") {
		t.Errorf("berth up afterwards: %s", out)
	}
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("alice herself, afterwards: %+v", r)
	}
	_ = bob.cmd.Process.Kill()
	// Their PAM sessions look after what was started meanwhile; and a supervisor that
	// was ended while it waited is missed when its turn comes.
	logInOnce(t, l, "alice", "bob", "alice", "bob", "alice", "bob")
	awaitState(t, l, before)
}

// With berth's own default one user cannot fill the container at all.
func TestOneUserAtProcessLimit(t *testing.T) {
	l := labs.New(t, "[container]\npids_limit = 600\nuser_processes = 300\n")
	logInOnce(t, l, "alice", "bob")
	h := startAttacker(t, l, fillPIDs)
	labs.Eventually(t, labs.Patience, func() (bool, string) { n := len(processesOf(t, l, "alice")); return n > 250, fmt.Sprint(n) })
	r := labs.Finish(l.SSH("bob", "for i in 1 2 3 4 5; do sleep 0; done; id -un"))
	if r.Out != "bob\n" || r.Err != "" {
		t.Errorf("bob: %+v", r)
	}
	r = labs.Finish(l.SSH("alice", "/bin/true; echo $?"))
	if !strings.Contains(r.Out+r.Err, "fork") && !strings.Contains(r.Err, "no more processes can be started") {
		t.Errorf("alice's next session is told nothing of her limit: %+v", r)
	}
	h.disconnect()
	awaitEndOfAlice(t, l)
}

// A2: alice takes all memory, in three ways.
func TestMemoryExhausted(t *testing.T) {
	// The proportions of the default, so that the attacks take seconds.
	l := labs.New(t, "[container]\nmemory = \"640m\"\nuser_processes = 4000\n[container.tmpfs]\n\"/run\" = \"mode=0755,size=16m\"\n"+
		"\"/tmp\" = \"mode=1777,size=80m\"\n\"/var/tmp\" = \"mode=1777,size=80m\"\n")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice", "bob")
	before := stableState(t, l)
	since := containerStart(t, l)
	first, _ := serving(t, l)
	bob, uid := startTyping(t, l, "bob"), l.UID(t, "alice")
	const (
		files     = "for f in /tmp /var/tmp /dev/shm; do cat /dev/zero >$f/fill; done 2>/dev/null; "
		shared    = "BERTH_PROBE=shm /home/probe 1000; "
		processes = "trap '' HUP TERM; exec 2>/dev/null; x=$(head -c 126976 /dev/zero | tr '\\0' x); while :; do tail -f /dev/null \"$x\" >/dev/null & done"
	)
	for name, attack := range map[string]string{
		"small processes": processes, "files, then processes": files + processes, "shared memory, then processes": shared + processes,
		"all, then one process": files + shared + "exec tail /dev/zero",
	} {
		t.Run(name, func(t *testing.T) {
			h := startAttacker(t, l, attack)
			ended := make(chan struct{})
			go func() { _ = h.cmd.Wait(); close(ended) }()
			select {
			case <-ended: // it was told
			case <-time.After(labs.Patience):
				t.Errorf("alice's session goes on: %d bytes are taken", cgroupNumber(t, l, "memory", "memory.usage_in_bytes"))
			}
			h.disconnect()
			awaitEndOfAlice(t, l)
			labs.Eventually(t, 30*time.Second, func() (bool, string) {
				out, err := exec.Command("docker", "exec", l.Container(t), "sh", "-c", "ls -A /tmp /var/tmp; tail -n +2 /proc/sysvipc/shm").CombinedOutput()
				return err == nil && !strings.Contains(string(out), "fill") && !strings.Contains(string(out), uid), string(out)
			})
		})
	}
	bob.finish(t)
	if now, _ := serving(t, l); now != first || containerStart(t, l) != since {
		log, _ := exec.Command("docker", "logs", "--tail", "20", l.Container(t)).CombinedOutput()
		t.Errorf("the container was restarted: keeper %d, then %d; %s, then %s\n%s", first, now, since, containerStart(t, l), log)
	}
	_ = bob.cmd.Process.Kill()
	logInOnce(t, l, "alice") // whose PAM session looks after what was started meanwhile
	awaitState(t, l, before)
}

// watchers lists the supervisors of a user's sessions.
func watchers(t *testing.T, l *labs.Lab, user string) (found []int) {
	t.Helper()
	for _, pid := range processesOf(t, l, user) {
		if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(args), "berth-init\x00watch") {
			found = append(found, pid)
		}
	}
	return found
}

// A10: alice stops or kills her supervisors, and leaves daemons that ignore what
// they can. All is ended within five seconds of the session, by each transport.
func TestNothingSurvivesLogout(t *testing.T) {
	const daemon = "trap '' HUP TERM; (setsid bash -c 'trap \"\" HUP TERM; exec sleep 3000' </dev/null >/dev/null 2>&1 &); echo up; exec sleep 3000"
	for _, transport := range []string{"direct", "exec"} {
		t.Run(transport, func(t *testing.T) {
			l := labs.New(t, fmt.Sprintf("transport = %q\n", transport))
			logInOnce(t, l, "alice", "bob")
			before := stateWithServers(t, l, transport)
			bob := startTyping(t, l, "bob")
			for round := range roundCount {
				h := startAttacker(t, l, daemon)
				labs.Eventually(t, labs.Patience, func() (bool, string) {
					return len(processesOf(t, l, "alice")) == 3 && len(watchers(t, l, "alice")) == 1, fmt.Sprint(inContainer(l), h.out)
				})
				// As alice: the right to do so is hers.
				signal := []string{"STOP", "KILL"}[round%2]
				// Not from inside: what runs there as alice ends with her last session.
				watcher := watchers(t, l, "alice")[0]
				out, err := l.AsUser("alice", "kill", "-"+signal, strconv.Itoa(watcher)).CombinedOutput()
				if err != nil {
					t.Fatalf("kill: %v: %s", err, out)
				}
				if signal == "STOP" {
					// The attack works: it is stopped, and the session goes on.
					labs.Eventually(t, labs.Patience, func() (bool, string) {
						status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", watcher))
						return strings.Contains(string(status), "T (stopped)"), "it is not stopped:\n" + string(status)
					})
					h.disconnect()
				}
				awaitEndOfAlice(t, l)
				h.disconnect()
				if c, err := keeper(l).Count(); err != nil || c.Sessions != 1 {
					t.Errorf("%d sessions are counted, bob has one: %v", c.Sessions, err)
				}
				if t.Failed() {
					break
				}
			}
			bob.finish(t)
			_ = bob.cmd.Process.Kill()
			if transport == "direct" {
				awaitState(t, l, before)
			}
		})
	}
}

// stateWithServers is still, for a lab that has servers.
func stateWithServers(t *testing.T, l *labs.Lab, transport string) state {
	t.Helper()
	if transport != "direct" {
		return state{}
	}
	return stableState(t, l)
}

// A11: what `berth status` costs and says does not depend on how many processes
// there are, what they are called and how long their arguments are.
func TestStatusOfManyProcesses(t *testing.T) {
	l := labs.New(t, "[container]\nuser_processes = 4000\n")
	logInOnce(t, l, "alice", "bob")
	engine := engineMemory(t)
	bob := startTyping(t, l, "bob")
	cost := func() time.Duration {
		start := time.Now()
		if out := l.Exec(t, "berth", "status"); !strings.Contains(out, "sessions    ") {
			t.Errorf("status: %s", out)
		}
		return time.Since(start)
	}
	without := cost()
	// 1,200 processes with 124 KiB of arguments each, called like supervisors.
	h := startAttacker(t, l, `x=$(head -c 126976 /dev/zero | tr '\0' x); trap '' HUP TERM
		for i in {1..1200}; do bash -c 'exec -a "/usr/libexec/berth/berth-init watch 7 0 9 6" tail -f /dev/null "$0"' "$x" >/dev/null 2>&1 & done; echo up; read x`)
	labs.Eventually(t, 2*labs.Patience, func() (bool, string) {
		n := len(processesOf(t, l, "alice"))
		return n > 1200, fmt.Sprintf("%d processes: %s", n, h.out)
	})
	with := cost()
	t.Logf("berth status: %v, with 1,200 large processes %v", without.Round(time.Millisecond), with.Round(time.Millisecond))
	if with > 5*time.Second {
		t.Errorf("berth status took %v, without them %v", with, without)
	}
	out := l.Exec(t, "berth", "status")
	if !strings.Contains(out, "sessions    2\n") {
		t.Errorf("alice and bob have one session each:\n%s", out)
	}
	if grown := engineMemory(t) - engine; grown > 200<<10 {
		t.Errorf("dockerd has grown by %d KiB", grown)
	}
	sessions, err := keeper(l).List()
	if err != nil || len(sessions) != 2 {
		t.Errorf("%+v, %v", sessions, err)
	}
	// Root ends alice's by its number.
	for _, s := range sessions {
		if fmt.Sprint(s.UID) == l.UID(t, "alice") {
			if err := keeper(l).End(s.PID, ""); err != nil {
				t.Error(err)
			}
		}
	}
	_ = h.cmd.Wait()
	awaitEndOfAlice(t, l)
	if err := keeper(l).End(1, ""); err == nil {
		t.Error("a session that there is not was ended")
	}
	bob.finish(t)
}

// engineMemory is dockerd's, in KiB.
func engineMemory(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-o", "-x", "dockerd").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
	return residentKiB(t, pid)
}

// C6: after ten `berth up` in a row there is no zombie, descriptor or orphan more,
// and nobody inside notices.
func TestUpRepeated(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice", "bob")
	before := stableState(t, l)
	bob := startTyping(t, l, "bob")
	for range 10 {
		if out := l.Exec(t, "berth", "up"); !strings.Contains(out, " runs\n") {
			t.Errorf("berth up: %s", out)
		}
	}
	bob.finish(t)
	_ = bob.cmd.Process.Kill()
	awaitState(t, l, before)
	for pid, args := range inContainer(l) {
		if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); strings.Contains(string(status), "Z (zombie)") {
			t.Errorf("a zombie: %d %s", pid, args)
		}
	}
}
