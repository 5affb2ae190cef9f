// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/labs"

	"golang.org/x/sys/unix"
)

func init() {
	// Leaves n files in a directory of its own, and more below it that are hard to
	// remove.
	probes["litter"] = func(args []string) string {
		dir := args[0]
		n, _ := strconv.Atoi(args[1])
		if err := os.MkdirAll(dir+"/many", 0o700); err != nil {
			return err.Error()
		}
		for i := range n {
			f, err := os.Create(fmt.Sprintf("%s/many/%d", dir, i))
			if err != nil {
				return err.Error()
			}
			f.Close()
		}
		if err := os.Chdir(dir); err != nil {
			return err.Error()
		}
		for range 3000 {
			if err := errors.Join(os.Mkdir("deep", 0o700), os.Chdir("deep")); err != nil {
				return err.Error()
			}
		}
		if err := errors.Join(os.Mkdir(dir+"/shut", 0o700), os.Mkdir(dir+"/shut/inner", 0o700), os.WriteFile(dir+"/shut/inner/f", nil, 0o400),
			os.Chmod(dir+"/shut/inner", 0), os.Chmod(dir+"/shut", 0), os.Chmod(dir, 0)); err != nil {
			return err.Error()
		}
		return "littered"
	}
	// Takes hold of a process of the same user's, over and over, until it can or the
	// process has ended.
	probes["seize"] = func(args []string) string {
		pid, _ := strconv.Atoi(args[0])
		runtime.LockOSThread()
		fmt.Println("up")
		for {
			switch err := unix.PtraceSeize(pid); {
			case err == nil:
				return "seized"
			case errors.Is(err, unix.ESRCH):
				return "gone"
			}
		}
	}
}

// processesStarted is how many processes the lab's container has ever had.
func processesStarted(t *testing.T, l *labs.Lab) int {
	t.Helper()
	out, err := exec.Command("docker", "exec", l.Container(t), "cat", "/proc/loadavg").Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) != 5 {
		t.Fatalf("%q, %v", out, err)
	}
	n, _ := strconv.Atoi(fields[4])
	return n
}

// processesKeepStarting is whether processes are being started in the container all the while:
// comets are not to be found in /proc.
func processesKeepStarting(t *testing.T, l *labs.Lab) bool {
	t.Helper()
	before := processesStarted(t, l)
	time.Sleep(300 * time.Millisecond) // the time that is measured
	return processesStarted(t, l)-before > 50
}

// screen is what a session has said so far.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// startOnScreen starts an attacker, whose words can be read while it goes on.
func startOnScreen(t *testing.T, l *labs.Lab, command string) (*attacker, *screen) {
	t.Helper()
	return startOnScreenAs(t, l, "alice", command)
}

func startOnScreenAs(t *testing.T, l *labs.Lab, user, command string) (*attacker, *screen) {
	t.Helper()
	cmd := l.AsUser(user, "env", "-i", "TERM=dumb", "SSH_ORIGINAL_COMMAND="+command, "/usr/libexec/berth/berth-session")
	h := &attacker{cmd: cmd, out: &screen{}}
	h.cmd.Stdout, h.cmd.Stderr = h.out, h.out
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return h, h.out
}

// await waits until it shows text.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	labs.Eventually(t, labs.Patience, func() (bool, string) { return strings.Contains(s.String(), text), s.String() })
}

// Nobody can be too quick to be ended: neither when the session ends, nor when its
// supervisor was killed, nor while the user has another session. That one is ended,
// too, and is told why.
func TestShortLivedProcessesEnd(t *testing.T) {
	l := labs.New(t, "")
	comet := filepath.Join(l.Dir, "home", "comet")
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", comet, "testdata/comet.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	logInOnce(t, l, "alice", "bob")
	before := stableState(t, l)
	bob, told := startTyping(t, l, "bob"), 0
	for _, c := range []struct {
		name          string
		kill, another bool
		comets        int
	}{
		{name: "client gone", comets: 1},
		{name: "supervisor killed", kill: true, comets: 1},
		{name: "client gone, another session", another: true, comets: 1},
		{name: "supervisor killed, another session", kill: true, another: true, comets: 1},
		{name: "many, another session", another: true, comets: 40},
		{name: "many, supervisor killed, another session", kill: true, another: true, comets: 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Many others make a look at all take its time.
			crowd, said := startOnScreen(t, l, "n=0; while [ $n -lt 1000 ]; do sleep 3000 & n=$((n+1)); done; echo up; wait")
			said.await(t, "up")
			had := watchers(t, l, "alice")
			h := startAttacker(t, l, fmt.Sprintf("exec /home/comet %d", c.comets))
			labs.Eventually(t, labs.Patience, func() (bool, string) { return processesKeepStarting(t, l), "none flies" })
			if c.kill {
				for _, pid := range watchers(t, l, "alice") {
					if !c.another || !slices.Contains(had, pid) {
						_ = unix.Kill(pid, unix.SIGKILL)
					}
				}
			}
			start := time.Now()
			h.disconnect()
			if !c.another {
				crowd.disconnect()
			}
			labs.Eventually(t, 3*endTimeout, func() (bool, string) { return !processesKeepStarting(t, l), "processes of alice's are being started" })
			took := time.Since(start)
			t.Logf("the last one ended after %v", took.Round(time.Millisecond))
			if took > endTimeout+2*time.Second {
				t.Errorf("the last of alice's processes ended after %v", took)
			}
			if c.another {
				// It goes on, or was told why not.
				const why = "all your sessions were ended"
				if len(watchers(t, l, "alice")) == 0 {
					labs.Eventually(t, labs.Patience, func() (bool, string) { return strings.Contains(said.String(), why), said.String() })
					told++
				}
			}
			crowd.disconnect()
			awaitEndOfAlice(t, l)
		})
	}
	// On a busy machine a look may well find them.
	t.Logf("another session was ended along with them %d times", told)
	bob.finish(t)
	_ = bob.cmd.Process.Kill()
	awaitState(t, l, before)
}

// A supervisor holds what tells the keeper of its session: no other process of the
// user's may take hold of it, whatever program it becomes.
func TestSupervisorCannotBeTraced(t *testing.T) {
	logInOnce(t, lab, "alice")
	// An end that takes its time: what is left ignores all but SIGKILL.
	victim, said := startOnScreen(t, lab, "trap '' HUP TERM; sleep 3000 & echo parent $PPID.; wait")
	said.await(t, ".")
	_, parent, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(said.String()), "."), "parent ")
	// That it can be done is shown with a process of the usual kind.
	h, said := startOnScreen(t, lab, "sleep 3000 & BERTH_PROBE=seize /home/probe $!; kill $!")
	said.await(t, "seized")
	h.disconnect()
	h, said = startOnScreen(t, lab, "BERTH_PROBE=seize exec /home/probe "+parent)
	said.await(t, "up")
	victim.disconnect()
	labs.Eventually(t, labs.Patience, func() (bool, string) { return len(strings.Fields(said.String())) > 1, said.String() })
	if !strings.Contains(said.String(), "gone") {
		t.Errorf("the supervisor %s: %s", parent, said)
	}
	h.disconnect()
	awaitEndOfAlice(t, lab)
}

// What alice's last session leaves is removed, however it lies, while bob has his
// supervisors killed; and nothing of bob's goes with it.
func TestSweepWhileSupervisorsDie(t *testing.T) {
	logInOnce(t, lab, "alice", "bob")
	before := stableState(t, lab)
	bob, said := startOnScreenAs(t, lab, "bob", "mkdir -m 755 /tmp/bob && mkdir -m 777 /tmp/bob/open && echo kept >/tmp/bob/file && mkdir -m 777 /tmp/bob/full && "+
		"touch /tmp/bob/full/file && mkdir /tmp/.berth-1 && echo up; read x; cat /tmp/bob/file; ls /tmp/bob/full")
	said.await(t, "up")
	// At first only what no look at the top alone would find.
	if r := labs.Finish(lab.SSH("alice", "touch /tmp/bob/open/left; ls /tmp/bob/open")); r.Out != "left\n" {
		t.Fatalf("%+v", r)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		out := labs.Finish(lab.SSH("bob", "ls /tmp/bob/open")).Out
		return out == "", out
	})
	r := labs.Finish(lab.SSH("alice", "BERTH_PROBE=litter /home/probe /tmp/litter 100000; ln -s /tmp/bob/full /tmp/link; ln -s /tmp/bob /tmp/bob/open/up; ls -d /tmp/litter"))
	if r.Out != "littered\n/tmp/litter\n" {
		t.Fatalf("%+v", r)
	}
	sweeper := sweeperOf(t, lab, "alice")
	for range 3 {
		others := watchers(t, lab, "bob")
		h, said := startOnScreenAs(t, lab, "bob", "sleep 3000 & echo up; wait")
		said.await(t, "up")
		for _, pid := range watchers(t, lab, "bob") {
			if !slices.Contains(others, pid) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		h.disconnect()
	}
	labs.Eventually(t, 30*time.Second, func() (bool, string) {
		all := processesOf(t, lab, "alice")
		if len(all) > 0 && all[0] != sweeper {
			t.Fatalf("the sweep %d was ended, and %d follows", sweeper, all)
		}
		return len(all) == 0, fmt.Sprint(all)
	})
	out, err := exec.Command("docker", "exec", lab.Container(t), "sh", "-c", "ls -A /tmp /tmp/bob/open").Output()
	if err != nil || string(out) != "/tmp:\n.berth-1\nbob\n\n/tmp/bob/open:\n" {
		t.Errorf("left: %q, %v", out, err)
	}
	if _, err := io.WriteString(bob.in, "go\n"); err != nil {
		t.Error(err)
	}
	said.await(t, "kept\nfile\n")
	bob.disconnect()
	awaitState(t, lab, before)
}

// While the keeper can take no further connection it waits, and does not ask over
// and over.
func TestKeeperWaitsForDescriptors(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice")
	stableState(t, l)
	first, _ := serving(t, l)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", first))
	if err != nil {
		t.Fatal(err)
	}
	highest := 0
	for _, fd := range fds {
		n, _ := strconv.Atoi(fd.Name())
		highest = max(highest, n)
	}
	var old unix.Rlimit
	if err := unix.Prlimit(first, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(first, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(highest), Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	// More callers than free numbers below the highest.
	var held []*attacker
	for range 16 {
		h, _ := startOnScreen(t, l, "cat")
		held = append(held, h)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		log, _ := exec.Command("docker", "logs", l.Container(t)).CombinedOutput()
		return strings.Contains(string(log), "supervisors cannot register"), string(log)
	})
	spent := cpuTicks(t, first)
	time.Sleep(time.Second) // the time that is measured
	if n := cpuTicks(t, first) - spent; n > 20 {
		t.Errorf("the keeper spends %d%% of the processor's time", n)
	}
	if err := unix.Prlimit(first, unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	for _, h := range held {
		h.disconnect()
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		r := labs.Finish(l.SSH("alice", "echo in"))
		return r.Out == "in\n", fmt.Sprintf("%+v", r)
	})
}

// cpuTicks is the processor's time that a process has spent, in hundredths of a second.
func cpuTicks(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if err != nil || len(fields) < 13 {
		t.Fatalf("%q, %v", text, err)
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}
