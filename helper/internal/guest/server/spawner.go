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

// requestFD is where a server requests supervisors.
const requestFD = 3

// What is said there. A server requests; it gets a descriptor, the other end of a
// supervisor's socket, or the reason why not.
const (
	requestMessage = "+"
	startedMessage = "+"
	failurePrefix  = "-"
)

// Spawn starts a supervisor whenever it is asked for one, until nobody can ask.
func Spawn() error {
	debug.SetGCPercent(gcPercent)
	unix.CloseOnExec(requestFD)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	childExits := make(chan os.Signal, 1)
	signal.Notify(childExits, unix.SIGCHLD)
	go func() {
		for range childExits {
			reapChildren()
		}
	}()
	for {
		var one [8]byte
		n, err := unix.Read(requestFD, one[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("requests: %w", err)
		case n == 0:
			return nil
		}
		fd, err := startSupervisor()
		if err != nil {
			err = unix.Sendmsg(requestFD, []byte(failurePrefix+err.Error()), nil, nil, unix.MSG_NOSIGNAL)
		} else {
			err = unix.Sendmsg(requestFD, []byte(startedMessage), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
			unix.Close(fd)
		}
		if errors.Is(err, unix.EPIPE) || errors.Is(err, io.EOF) {
			return nil
		}
	}
}

// startSupervisor starts one that waits, and returns the socket by which to hand it
// a session. It has read nothing and knows nobody.
func startSupervisor() (int, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(ends[1])
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(null)
		files := []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(ends[1])}
		_, err = syscall.ForkExec(programPath(), []string{os.Args[0], "session", "-"},
			&syscall.ProcAttr{Dir: "/", Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	}
	if err != nil {
		unix.Close(ends[0])
		return 0, fmt.Errorf("start: %w", err)
	}
	return ends[0], nil
}

// reapChildren waits for every child that has ended, and for none that has not.
func reapChildren() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != nil && !errors.Is(err, unix.EINTR) || err == nil && pid == 0 {
			return
		}
	}
}
