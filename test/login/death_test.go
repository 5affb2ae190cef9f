// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// endBound is how soon after a death nothing of the session may be left.
const endBound = 5 * time.Second

var marks atomic.Int64

// stubbornCommand is a command that leaves behind all that a session can: a shell
// that ignores the hangup, a child with a session of its own, and a daemon.
// Each carries mark in its arguments.
func stubbornCommand(mark string) string {
	sleep := "exec -a " + mark + " sleep 3000"
	return "trap '' HUP TERM; (trap '' HUP TERM; " + sleep + ") & setsid bash -c '" + sleep + "' & (bash -c 'trap \"\" HUP TERM; " + sleep + "' & ) ; " +
		"(setsid bash -c '(" + sleep + " &)'); bash -c '" + sleep + "'"
}

const stubbornProcesses = 5

// countProcesses counts the container's processes that carry mark.
func (l *Lab) countProcesses(t *testing.T, mark string) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-c", "-f", "^"+mark+" ").Output()
	n, perr := strconv.Atoi(strings.TrimSpace(string(out)))
	if perr != nil {
		t.Fatalf("pgrep: %v %v", err, perr)
	}
	return n
}

// victim is a session with stubborn processes, and the pids that carry it on
// the host.
type victim struct {
	mark           string
	client         *exec.Cmd
	helper         int
	sshd, sshdPriv int // the user's sshd process and the monitor above it
}

func (l *Lab) openVictim(t *testing.T, tty bool) victim {
	t.Helper()
	v := victim{mark: fmt.Sprintf("mark%d-%d-", os.Getpid(), marks.Add(1))}
	ssh := func(args ...string) *exec.Cmd {
		cmd := l.SSH("alice", args...)
		cmd.Env = append(os.Environ(), "LC_BERTH="+v.mark)
		return cmd
	}
	if tty {
		s := open(t, ssh())
		s.expect(`[$%#] `)
		s.send(stubbornCommand(v.mark) + "\r")
		v.client = s.cmd
	} else {
		v.client = ssh(stubbornCommand(v.mark))
		in, err := v.client.StdinPipe() // held open, like a terminal's
		if err != nil {
			t.Fatal(err)
		}
		if err := v.client.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			_ = v.client.Process.Kill()
			_ = v.client.Wait()
		})
	}
	eventually(t, patience, func() (bool, string) {
		n := l.countProcesses(t, v.mark)
		return n == stubbornProcesses, fmt.Sprintf("%d of the session's processes", n)
	})
	v.helper = helperOf(t, v.mark)
	v.sshd = parent(t, v.helper)
	v.sshdPriv = parent(t, v.sshd)
	return v
}

// helperOf finds the berth-session of the client that sent mark along.
func helperOf(t *testing.T, mark string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		cmdline, _ := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if !strings.HasPrefix(string(cmdline), berthSession) {
			continue
		}
		environ, _ := os.ReadFile("/proc/" + entry.Name() + "/environ")
		if pid, err := strconv.Atoi(entry.Name()); err == nil && strings.Contains(string(environ), "\x00LC_BERTH="+mark+"\x00") {
			return pid
		}
	}
	t.Fatalf("no berth-session has %s", mark)
	return 0
}

// guestOf finds the supervisor above the marked process.
func guestOf(t *testing.T, mark string) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "^"+mark+" ").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pid, _ := strconv.Atoi(strings.Fields(string(out))[0]); pid > 1; pid = parent(t, pid) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(cmdline), "/berth-init\x00watch\x00") {
			return pid
		}
	}
	t.Fatal("the marked process has no guest above it")
	return 0
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}

// Whatever dies, and however, nothing of the session is left within five
// seconds, and no other session is touched.
func TestDeath(t *testing.T) {
	other := lab.shell(t, "alice") // of the same user, even
	kill := func(t *testing.T, pid int) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	var helpers []int
	for _, tty := range []bool{false, true} {
		for name, end := range map[string]func(*testing.T, victim){
			"client":              func(t *testing.T, v victim) { kill(t, v.client.Process.Pid) },
			"helper":              func(t *testing.T, v victim) { kill(t, v.helper) },
			"sshd's user process": func(t *testing.T, v victim) { kill(t, v.sshd) },
			// The monitor alone is not the session: without it the connection lives on.
			"sshd's monitor and user": func(t *testing.T, v victim) { kill(t, v.sshdPriv); kill(t, v.sshd) },
		} {
			t.Run(fmt.Sprintf("%s, tty %v", name, tty), func(t *testing.T) {
				v := lab.openVictim(t, tty)
				helpers = append(helpers, v.helper)
				end(t, v)
				eventually(t, endBound, func() (bool, string) {
					n := lab.countProcesses(t, v.mark)
					return n == 0, fmt.Sprintf("%d processes left", n)
				})
				eventually(t, endBound, func() (bool, string) {
					err := syscall.Kill(v.helper, 0)
					return err == syscall.ESRCH, fmt.Sprintf("berth-session %d: %v", v.helper, err)
				})
			})
		}
	}
	if got := other.ask("echo still here"); got != "still here" {
		t.Errorf("the other session: %q", got)
	}
	other.send("exit\r")
	other.end()
	left := lab.Exec(t, "ls", "-A", "/var/lib/berth/lifeline")
	for _, helper := range helpers {
		if strings.Contains(left, fmt.Sprintf(".%d\n", helper)) {
			t.Errorf("the lifeline of %d is left", helper)
		}
	}
}

// An ordinary end takes what runs in the background along, and does not wait
// for it.
func TestBackgroundEndsWithTheSession(t *testing.T) {
	mark := fmt.Sprintf("mark%d-%d-", os.Getpid(), marks.Add(1))
	r := finish(lab.SSH("alice", "(exec -a "+mark+" sleep 3000) >/dev/null 2>&1 </dev/null & sleep 0.2; exit 6"))
	if r.Status != 6 {
		t.Errorf("%+v", r)
	}
	eventually(t, endBound, func() (bool, string) { n := lab.countProcesses(t, mark); return n == 0, fmt.Sprint(n) })
}

// With linger it stays.
func TestLinger(t *testing.T) {
	l := newLab(t, "[session]\nlinger = true\n")
	mark := fmt.Sprintf("mark%d-%d-", os.Getpid(), marks.Add(1))
	l.run(t, "alice", "setsid bash -c 'exec -a "+mark+" sleep 3000' >/dev/null 2>&1 </dev/null & while ! pgrep -f ^"+mark+" >/dev/null; do :; done")
	l.run(t, "alice", "true")
	if n := l.countProcesses(t, mark); n != 1 {
		t.Errorf("%d processes of the lingering session", n)
	}
	l.run(t, "alice", "pkill -f ^"+mark)
}

// A fork bomb at the container's limit of processes ends with its session, and
// leaves room for others.
func TestForkBomb(t *testing.T) {
	l := newLab(t, "[container]\npids_limit = 300\n")
	uid := strings.TrimSpace(l.Exec(t, "id", "-u", "erin")) // nobody else's, in any lab
	processes := func() int {
		out, _ := exec.Command("pgrep", "-c", "-u", uid).Output()
		n, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		return n
	}
	bomb := l.SSH("erin", "exec 2>/dev/null; exec bash -c 'bomb() { bomb | bomb & sleep 3000; }; trap \"\" HUP TERM; bomb'")
	if err := bomb.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() (bool, string) { n := processes(); return n > 200, fmt.Sprintf("%d processes", n) })
	if err := bomb.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = bomb.Wait()
	eventually(t, endBound, func() (bool, string) { n := processes(); return n == 0, fmt.Sprintf("%d processes left", n) })
	if out := l.run(t, "bob", "id -un"); out != "bob\n" {
		t.Errorf("bob: %q", out)
	}
}
