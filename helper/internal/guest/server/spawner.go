// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest spawner. As: container root.
//
// Starts supervisors. It is a process of its own, so that they descend from no server:
// root of the host lowers the servers' oom_score_adj, and what descends from such a
// process may lower its own as far (proc(5)). The spawner's is set to 0 (control.Settle).

package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// askFD is where the spawner is asked for supervisors.
const askFD = 3

// What is said there: a server asks, and gets a supervisor's end of a socket, or a
// reason.
const (
	ask    = "+"
	given  = "+"
	failed = "-"
)

// Spawn starts a supervisor whenever it is asked for one, until nobody can ask.
func Spawn() error {
	debug.SetGCPercent(thrifty)
	unix.CloseOnExec(askFD)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	go func() {
		for range died {
			collect()
		}
	}()
	for {
		var one [8]byte
		n, err := unix.Read(askFD, one[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("asked: %w", err)
		case n == 0:
			return nil
		}
		way, err := supervisor()
		if err != nil {
			err = unix.Sendmsg(askFD, []byte(failed+err.Error()), nil, nil, unix.MSG_NOSIGNAL)
		} else {
			err = unix.Sendmsg(askFD, []byte(given), unix.UnixRights(way), nil, unix.MSG_NOSIGNAL)
			unix.Close(way)
		}
		if errors.Is(err, unix.EPIPE) || errors.Is(err, io.EOF) {
			return nil
		}
	}
}

// supervisor starts one that waits, and returns the way to hand it a session. It
// has read nothing and knows nobody.
func supervisor() (int, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(ends[1])
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(null)
		given := []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(ends[1])}
		_, err = syscall.ForkExec(own(), []string{os.Args[0], "session", "-"},
			&syscall.ProcAttr{Dir: "/", Files: given, Sys: &syscall.SysProcAttr{Setsid: true}})
	}
	if err != nil {
		unix.Close(ends[0])
		return 0, fmt.Errorf("start: %w", err)
	}
	return ends[0], nil
}

// collect waits for every child that has ended, and for none that has not.
func collect() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != nil && !errors.Is(err, unix.EINTR) || err == nil && pid == 0 {
			return
		}
	}
}
