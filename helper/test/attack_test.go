// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/test/labs"

	"golang.org/x/sys/unix"
)

// dialRaw is a connection on which anything may be said.
func dialRaw() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
}

// dialMany opens n connections and holds them.
func dialMany(n int) (held []int, err error) {
	for range n {
		fd, err := dialRaw()
		if err != nil {
			return nil, err
		}
		held = append(held, fd)
	}
	return held, nil
}

func frameHeader(kind lifeline.Kind, size uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(kind)}, size)
}

// attacks are what a user of the host may do to the socket. Each returns when it
// has been at it for a while, and leaves its connections to its end.
var attacks = map[string]func() string{
	"1,000 half-open connections": func() string {
		held, err := dialMany(1000)
		if err != nil {
			return err.Error()
		}
		time.Sleep(2 * time.Second) // while they are held, others log in
		return fmt.Sprint(len(held))
	},
	"one byte a second": func() string {
		held, err := dialMany(50)
		if err != nil {
			return err.Error()
		}
		frame := lifeline.Frame(lifeline.Start, identityBody)
		// The tenth second is the server's last.
		for i := range 12 {
			for _, fd := range held {
				_ = unix.Sendto(fd, frame[i:i+1], unix.MSG_NOSIGNAL, nil)
			}
			time.Sleep(time.Second)
		}
		ended := 0
		for _, fd := range held {
			if _, _, err := unix.Recvfrom(fd, make([]byte, 4096), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
				ended++
			}
		}
		return fmt.Sprintf("%d of %d ended", ended, len(held))
	},
	"messages of 1 GiB": func() string {
		for _, kind := range []lifeline.Kind{lifeline.Identity, lifeline.Start, 'Z'} {
			for range 20 {
				fd, err := dialRaw()
				if err != nil {
					return err.Error()
				}
				_ = unix.Sendto(fd, frameHeader(kind, 1<<30), unix.MSG_NOSIGNAL, nil)
				for range 64 {
					_ = unix.Sendto(fd, make([]byte, 64<<10), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
				}
			}
		}
		return "sent"
	},
	"250 descriptors": func() string {
		for range 20 {
			fd, err := dialRaw()
			if err != nil {
				return err.Error()
			}
			fds := make([]int, 250)
			for i := range fds {
				fds[i] = fd
			}
			_ = unix.Sendmsg(fd, lifeline.Frame(lifeline.Identity, identityBody), unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		}
		return "sent"
	},
	"closed halves": func() string {
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_WR, unix.SHUT_RDWR} {
			for when := range 3 {
				c, err := dial(socket)
				if err != nil {
					return err.Error()
				}
				if when > 0 {
					c.hello()
				}
				if when > 1 {
					c.ask(lifeline.Start, command("sleep 3000 & sleep 3000"))
				}
				_ = c.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), how) })
			}
		}
		return "sent"
	},
	"frames in a wrong order": func() string {
		var heard []string
		for _, kinds := range []string{"SSS", "HH", "HS", "HIH", "HIX", "I", "X", "E", "A", "R", "G", "HISI", "\x00", "HISR"} {
			c, err := dial(socket)
			if err != nil {
				return err.Error()
			}
			for _, kind := range []byte(kinds) {
				body := map[byte][]byte{'S': command("true"), 'I': identityBody}[kind]
				if kind == 'I' {
					_ = c.Send(lifeline.Identity, body) // it is not answered
					continue
				}
				if _, words := c.ask(lifeline.Kind(kind), body); strings.Contains(words, "refused") {
					heard = append(heard, kinds)
					break
				}
			}
		}
		return strings.Join(heard, " ")
	},
	"noise": func() string {
		random, err := os.Open("/dev/urandom")
		if err != nil {
			return err.Error()
		}
		for range 200 {
			fd, err := dialRaw()
			if err != nil {
				return err.Error()
			}
			noise := make([]byte, 3000)
			_, _ = random.Read(noise)
			_ = unix.Sendto(fd, noise, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
		}
		return "sent"
	},
}

func init() {
	for name, attack := range attacks {
		probes[name] = func([]string) string { return attack() }
	}
	probes["kinds"] = func([]string) string {
		open := func(path string, flags int) int {
			fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
			if err != nil {
				panic(err)
			}
			return fd
		}
		must := func(fd int, err error) int {
			if err != nil {
				panic(err)
			}
			return fd
		}
		var pipe [2]int
		must(0, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		must(0, err)
		epoll := must(unix.EpollCreate1(0))
		event := must(unix.Eventfd(0, 0))
		memory := must(unix.MemfdCreate("x", 0))
		kinds := []struct {
			name string
			fd   int
		}{
			{"pipe", pipe[1]}, {"socket", pair[0]}, {"null", open("/dev/null", unix.O_RDWR)}, {"tty", open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY)},
			{"directory", open("/etc", unix.O_RDONLY|unix.O_DIRECTORY)}, {"path of a directory", open("/", unix.O_PATH)}, {"path of null", open("/dev/null", unix.O_PATH)},
			{"file", open("/etc/passwd", unix.O_RDONLY)}, {"memory", memory}, {"zero", open("/dev/zero", unix.O_RDWR)},
			{"epoll", epoll}, {"event", event}, {"proc", open("/proc/self/status", unix.O_RDONLY)},
		}
		var taken []string
		for _, kind := range kinds {
			for at := range 3 {
				c, err := dial(socket)
				if err != nil {
					return err.Error()
				}
				fds := []int{kinds[2].fd, kinds[2].fd, kinds[2].fd}
				fds[at] = kind.fd
				c.hello()
				got, words := c.ask(lifeline.Start, command("true"), fds...)
				if got == lifeline.Started {
					taken = append(taken, kind.name)
				} else if !strings.Contains(words, fmt.Sprintf("descriptor %d", at)) {
					return kind.name + ": " + words
				}
				c.Close()
			}
		}
		return strings.Join(taken, " ")
	}
}

// Only what a session can do no harm with comes in.
func TestKindsOfDescriptors(t *testing.T) {
	before := stableState(t, lab)
	want := "pipe pipe pipe socket socket socket null null null tty tty tty"
	if got := runProbe(t, lab, "alice", "kinds"); got != want {
		t.Errorf("taken: %s; want %s", got, want)
	}
	awaitState(t, lab, before)
}

// Whatever a user does to the socket, others log in meanwhile, and afterwards
// all is as before.
func TestAttacks(t *testing.T) {
	logInOnce(t, lab, "bob")
	before := stableState(t, lab)
	want := map[string]string{
		"1,000 half-open connections": "1000", "one byte a second": "50 of 50 ended",
		"frames in a wrong order": "SSS HH HS HIH HIX X E A R G HISI \x00 HISR",
	}
	for name := range attacks {
		t.Run(name, func(t *testing.T) {
			said := make(chan string, 1)
			go func() {
				r := labs.Finish(lab.AsUser("alice", "env", "BERTH_PROBE="+name, "/home/probe"))
				said <- strings.TrimSuffix(r.Out, "\n") + r.Err
			}()
			logins := 0
			for done := false; !done; logins++ {
				start := time.Now()
				if r := labs.Finish(lab.AsUser("bob", "env", "-i", "SSH_ORIGINAL_COMMAND=id -un", "/usr/libexec/berth/berth-session")); r.Out != "bob\n" {
					t.Fatalf("bob: %+v", r)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("bob waited %v", took)
				}
				select {
				case words := <-said:
					done = true
					if want[name] != "" && words != want[name] {
						t.Errorf("%q, want %q", words, want[name])
					}
				default:
				}
			}
			t.Logf("%d logins of bob meanwhile", logins)
			awaitState(t, lab, before)
		})
	}
	keeper, server := serving(t, lab)
	t.Logf("resident: keeper %d KiB, server %d KiB", residentKiB(t, keeper), residentKiB(t, server))
}

// residentKiB is a process's memory in KiB (proc(5), VmRSS).
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
