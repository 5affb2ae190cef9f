// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withoutLease is how soon the lease is free after a connection's end.
const withoutLease = 5 * time.Second

// A real sshd, with its privilege separation, holds the lease in its own processes for as
// long as the client is connected: what it runs for the user has none of it.
func TestLeaseOfAConnection(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(l *login, holders map[string][]int){
		"logged out":        func(l *login, _ map[string][]int) { l.end() },
		"the client killed": func(l *login, _ map[string][]int) { _ = l.client.Process.Kill() },
		"the monitor killed": func(l *login, holders map[string][]int) {
			kill(holders, " [priv]") // nina's sshd goes on, and has the lease, until its client goes
			_ = l.client.Process.Kill()
		},
		"all of sshd killed": func(_ *login, holders map[string][]int) { kill(holders, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "pam_lease")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			place := filepath.Join(dir, "berth/profiles/default/box")
			for _, err := range []error{os.Chmod(dir, 0o755), os.MkdirAll(place, 0o755), os.Mkdir(dir+"/berth/users", 0o755)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			served, err := net.Listen("unix", filepath.Join(place, "socket"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { served.Close() })
			more := "mount -t tmpfs -o mode=755 none /var/lib; mkdir /var/lib/berth; mount --bind " + dir + "/berth /var/lib/berth; " +
				"ln -s ../profiles/default/box /var/lib/berth/users/4711"
			l := logIn(t, more, "session required "+built.module+"\nsession required "+built.module+" container")
			t.Cleanup(l.end)
			lease := filepath.Join(place, "lease")
			holders := holdersOf(t, l.monitor(t), lease)
			for who, pids := range holders {
				// "sshd: nina [priv]" and "sshd: nina@notty", and with OpenSSH 10 sshd-session
				if !strings.HasPrefix(who, "sshd") || len(pids) != 1 {
					t.Errorf("%q holds the lease: %v", who, pids)
				}
			}
			if len(holders) != 2 {
				t.Errorf("the lease is held by %v", holders)
			}
			if f, free := tryLease(t, lease); free {
				f.Close()
				t.Error("nobody holds the lease: this shows nothing")
			}
			ends(l, holders)
			start := time.Now()
			f, free := tryLease(t, lease)
			for ; !free; f, free = tryLease(t, lease) {
				if time.Since(start) > withoutLease {
					t.Fatalf("held after %v", time.Since(start))
				}
				time.Sleep(10 * time.Millisecond)
			}
			f.Close()
			t.Logf("free after %v", time.Since(start))
		})
	}
}

// kill ends those whose command line ends so.
func kill(holders map[string][]int, suffix string) {
	for who, pids := range holders {
		for _, pid := range pids {
			if strings.HasSuffix(who, suffix) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// tryLease takes the lease for itself, if nobody has it.
func tryLease(t *testing.T, path string) (f *os.File, free bool) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return f, true
	}
	f.Close()
	return nil, false
}

// holdersOf returns which processes in the mount namespace of one have the file open, by their
// command lines.
func holdersOf(t *testing.T, pid, path string) map[string][]int {
	t.Helper()
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		t.Fatal(err)
	}
	found := map[string][]int{}
	processes := processesBeside(t, pid)
	if len(processes) < 3 { // the monitor, nina's sshd, her shell
		t.Errorf("%v: this shows nothing", processes)
	}
	for _, p := range processes {
		proc := fmt.Sprintf("/proc/%d/", p)
		entries, _ := os.ReadDir(proc + "fd")
		for _, e := range entries {
			var st unix.Stat_t
			if unix.Stat(proc+"fd/"+e.Name(), &st) == nil && st.Ino == file.Ino && st.Dev == file.Dev {
				text, _ := os.ReadFile(proc + "cmdline")
				who := strings.TrimRight(strings.ReplaceAll(string(text), "\x00", " "), " ")
				found[who] = append(found[who], p)
			}
		}
	}
	return found
}
