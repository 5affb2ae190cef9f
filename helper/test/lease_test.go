// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/helper/internal/link/paths"
	"berth/test/labs"

	"golang.org/x/sys/unix"
)

func init() {
	// Connects, says nothing for so long, and then has a session.
	probes["slow"] = func(args []string) string {
		c, err := dial(socket)
		if err != nil {
			return err.Error()
		}
		pause, _ := time.ParseDuration(args[0])
		time.Sleep(pause)
		return c.session("echo in")
	}
	// Has a session so long after a line of its input, and tries again where nobody has said
	// a word, as berth-session does.
	probes["aim"] = func(args []string) string {
		fmt.Println("ready")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err.Error()
		}
		pause, _ := time.ParseDuration(args[0])
		time.Sleep(pause)
		for {
			c, err := dial(socket)
			if err != nil {
				return err.Error()
			}
			if words := c.session("echo in"); !strings.Contains(words, "EOF") && !strings.Contains(words, "reset by peer") {
				return words
			}
		}
	}
	// Connects and goes, 2,000 times.
	probes["knock"] = func(args []string) string {
		for range 2000 {
			fd, err := dialRaw()
			if err != nil {
				return err.Error()
			}
			unix.Close(fd)
		}
		return "knocked"
	}
}

// ownContainer is a lab whose container comes back only after a crash.
const ownContainer = "[container]\nrestart = \"on-failure\"\n[session]\ntimeout = \"2s\"\n"

// setRules replaces rules of the lab's container, which then goes by them.
func setRules(t *testing.T, l *labs.Lab, changes ...string) {
	t.Helper()
	for _, change := range changes {
		name, _, _ := strings.Cut(change, "=")
		if out, err := exec.Command("sed", "-i", "s/^"+name+"=.*/"+change+"/", l.Path("serve/rules")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := keeper(l).Renew(); err != nil {
		t.Fatal(err)
	}
}

// life is what the engine says of the lab's container: its status, how it ended, how often
// it was started again.
func life(t *testing.T, l *labs.Lab) string {
	t.Helper()
	out, err := exec.Command("docker", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", l.Container(t)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func awaitIdleEnd(t *testing.T, l *labs.Lab) {
	t.Helper()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		is := life(t, l)
		return is == "exited 0 0", is
	})
}

// start starts the lab's container again and waits until its keeper answers.
func start(t *testing.T, l *labs.Lab) {
	t.Helper()
	if out, err := exec.Command("docker", "start", l.Container(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	awaitKeeper(t, l)
}

func awaitKeeper(t *testing.T, l *labs.Lab) {
	t.Helper()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		_, err := keeper(l).Count()
		return err == nil, fmt.Sprint(err)
	})
}

// staysUp waits for longer than the container may be idle, and returns whether it goes on.
func staysUp(t *testing.T, l *labs.Lab) {
	t.Helper()
	before, err := keeper(l).Count()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond) // the time in which nothing may happen
	if now, err := keeper(l).Count(); err != nil || now.PID != before.PID {
		t.Fatalf("the container has ended: %v, %s", err, life(t, l))
	}
}

// takeLease holds the lock as sshd's monitor does, until release.
func takeLease(t *testing.T, l *labs.Lab) (release func()) {
	t.Helper()
	lease, err := os.OpenFile(l.Path("serve/"+paths.Lease), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lease.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	return func() { lease.Close() }
}

func containerLog(t *testing.T, l *labs.Lab) string {
	t.Helper()
	out, err := exec.Command("docker", "logs", l.Container(t)).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A container ends when nobody has used it for its time, and is not used while it is leased,
// has a session, or what a session left. An end is no crash.
func TestIdleEnd(t *testing.T) {
	l := labs.New(t, ownContainer)
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice")
	release := takeLease(t, l)
	setRules(t, l, "idle=1", "spares=0")

	t.Run("leased", func(t *testing.T) {
		staysUp(t, l)
		if err := keeper(l).Renew(); err != nil {
			t.Error(err)
		}
		staysUp(t, l)
		// A crash brings it back, and the lease holds.
		c, err := keeper(l).Count()
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(c.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		labs.Eventually(t, labs.Patience, func() (bool, string) {
			is := life(t, l)
			return is == "running 0 1", is
		})
		awaitKeeper(t, l)
		staysUp(t, l)
		if out, err := exec.Command("docker", "restart", "--time", "1", l.Container(t)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		awaitKeeper(t, l)
		staysUp(t, l)
		release()
		awaitIdleEnd(t, l)
		if got := runProbe(t, l, "alice", "session", socket, "echo in"); !strings.Contains(got, "connection refused") {
			t.Errorf("after the end: %s", got)
		}
		if log := containerLog(t, l); !strings.Contains(log, "nobody has used the container for 1 s: it ends\n") {
			t.Errorf("the log: %s", log)
		}
	})
	t.Run("session", func(t *testing.T) {
		release := takeLease(t, l)
		start(t, l)
		h, said := startOnScreen(t, l, "echo up; read x")
		said.await(t, "up")
		release()
		staysUp(t, l)
		// The server has gone, and one comes for the next session.
		labs.Eventually(t, labs.Patience, func() (bool, string) {
			c, err := keeper(l).Count()
			return err == nil && c.Server == 0 && c.Spawner == 0 && c.Spare == 0, fmt.Sprint(c, err)
		})
		other, said := startOnScreen(t, l, "echo up; read x")
		said.await(t, "up")
		c, err := keeper(l).Count()
		if err != nil || c.Server == 0 {
			t.Fatalf("%+v, %v", c, err)
		}
		if err := syscall.Kill(hostPID(l, c.PID, c.Server), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		staysUp(t, l)
		h.disconnect()
		other.disconnect()
		awaitIdleEnd(t, l)
	})
	t.Run("what a session left", func(t *testing.T) {
		release := takeLease(t, l)
		start(t, l)
		setRules(t, l, "linger=-1")
		h, said := startOnScreen(t, l, "(setsid sleep 3000 >/dev/null 2>&1 </dev/null &); echo up")
		said.await(t, "up")
		release()
		_ = h.cmd.Wait()
		staysUp(t, l)
		for _, pid := range processesOf(t, l, "alice") {
			if args := inContainer(l)[pid]; strings.HasPrefix(args, "sleep") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		awaitIdleEnd(t, l)
	})
	t.Run("no lease", func(t *testing.T) {
		lease := l.Path("serve/" + paths.Lease)
		for what, make := range map[string]func() error{
			"a link":      func() error { return os.Symlink("/etc/hostname", lease) },
			"a directory": func() error { return os.Mkdir(lease, 0o755) },
			"a fifo":      func() error { return unix.Mkfifo(lease, 0o600) },
			"a file of somebody else": func() error {
				return errors.Join(os.WriteFile(lease, nil, 0o666), os.Chmod(lease, 0o666), os.Chown(lease, 1000, 1000))
			},
		} {
			if err := errors.Join(os.RemoveAll(lease), make()); err != nil {
				t.Fatal(err)
			}
			lines := strings.Count(containerLog(t, l), paths.Serve+"/"+paths.Lease+": ")
			start(t, l)
			staysUp(t, l)
			if n := strings.Count(containerLog(t, l), paths.Serve+"/"+paths.Lease+": "); n != lines+1 {
				t.Errorf("%s: %d lines:\n%s", what, n-lines, containerLog(t, l))
			}
			if err := os.RemoveAll(lease); err != nil {
				t.Fatal(err)
			}
			awaitIdleEnd(t, l)
		}
	})
}

// Whoever comes when the time is over gets in, or is refused at once: nobody is lost.
func TestCallersAtIdleEnd(t *testing.T) {
	l := labs.New(t, ownContainer)
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice")
	setRules(t, l, "idle=1", "spares=0")

	// In the socket's queue, which nobody looks at while the time passes.
	c, err := keeper(l).Count()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(c.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h, said := startOnScreen(t, l, "echo in; read x")
	time.Sleep(1500 * time.Millisecond) // the time that the container may be idle
	if err := syscall.Kill(c.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	said.await(t, "in")
	h.disconnect()

	// In the server, where nothing has been said yet.
	if got := runProbe(t, l, "alice", "slow", "3s"); got != "in" {
		t.Errorf("a caller who takes 3 s: %s", got)
	}

	// At the very end, which is aimed at better and better.
	awaitIdleEnd(t, l)
	in, refused, aim, step := 0, 0, 900*time.Millisecond, 128*time.Millisecond
	for range 16 {
		to, from := labs.StartWithPipes(t, l.AsUser("alice", "env", "BERTH_PROBE=aim", "/home/probe", aim.String()))
		if line, err := from.ReadString('\n'); line != "ready\n" {
			t.Fatalf("%q, %v", line, err)
		}
		start(t, l)
		if _, err := io.WriteString(to, "go\n"); err != nil {
			t.Fatal(err)
		}
		switch got, err := from.ReadString('\n'); {
		case got == "in\n":
			in, aim = in+1, aim+step
		case strings.Contains(got, "connection refused"):
			refused, aim = refused+1, aim-step
		default:
			t.Errorf("aimed at %v: %q, %v", aim, got, err)
		}
		step = max(step/2, time.Millisecond)
		awaitIdleEnd(t, l)
	}
	t.Logf("%d got in, %d were refused, the last at %v", in, refused, aim)
	if in == 0 || refused == 0 {
		t.Error("the end was not aimed at")
	}
}

// The one who comes between the last look at the queue and the socket's end finds a new
// socket, and the container goes on; then it ends.
func TestCallerInTheLastMoment(t *testing.T) {
	program := filepath.Join(t.TempDir(), "lease")
	const init = "../cmd/berth-init/"
	if out, err := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"+init, "-o", program, "testdata/lease.c", init+"lease.c",
		init+"socket.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := labs.Finish(exec.Command("unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && exec "+program))
	if want := "let go: 1\nfound the new socket: 1, which is watched: 1\nnobody has used the container for 0 s: it ends\n"; r.Out != want || r.Status != 0 {
		t.Errorf("%+v, want %q", r, want)
	}
}

// PAM looks for the container at each login, as root, and says nothing. That costs next to
// nothing, and leaves no line.
func TestRootKnocks(t *testing.T) {
	l := labs.New(t, "")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice")
	before := stableState(t, l)
	first, server := serving(t, l)
	lines, spent := containerLog(t, l), cpuTicks(t, first)+cpuTicks(t, server)
	if got := runProbe(t, l, "root", "knock"); got != "knocked" {
		t.Fatal(got)
	}
	logInOnce(t, l, "alice") // behind them in the queue
	awaitState(t, l, before)
	took := cpuTicks(t, first) + cpuTicks(t, server) - spent
	t.Logf("2,000 knocks took %d ms of the processor", 10*took)
	if took > 100 {
		t.Errorf("each took %d µs", took*10*1000/2000)
	}
	if now := containerLog(t, l); now != lines {
		t.Errorf("the log has more lines:\n%s", strings.TrimPrefix(now, lines))
	}
}

// What a container for one user takes while nobody is there: one process, within the bound
// of docs/architecture.md.
func TestIdleContainerIsSmall(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice")
	setRules(t, l, "idle=3600", "spares=0")
	if r := labs.Finish(l.SSH("alice", "echo in")); r.Out != "in\n" {
		t.Fatalf("%+v", r)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		all := inContainer(l)
		return len(all) == 1, fmt.Sprint(all)
	})
	for pid := range inContainer(l) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		_, rest, _ := strings.Cut(string(text), "\nPss:")
		kib := 0
		if _, serr := fmt.Sscan(rest, &kib); err != nil || serr != nil || kib > 2560 {
			t.Errorf("%d KiB: %v, %v", kib, err, serr)
		}
		t.Logf("the idle container takes %d KiB (PSS)", kib)
	}
}
