// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest. As: the user.

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"berth/helper/internal/guest/proctree"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/paths"
	"berth/test/coverage"

	"golang.org/x/sys/unix"
)

// becomeWatcher becomes the program that waits for the end of the session: a process of one
// thread and a few pages, because there is one for each session (helper/cmd/berth-init/
// watch.c). This process's children stay its own. At the end it removes the agent's socket, if there is one.
// It returns only when it fails; then the program dies with this process.
func (v *supervisor) becomeWatcher(line *lifeline.Conn, pid int, socket string) error {
	path := paths.InitProgram
	var err error
	if cerr := line.Control(func(fd uintptr) {
		for _, kept := range []int{int(fd), v.keeper.fd} {
			if _, ferr := unix.FcntlInt(uintptr(kept), unix.F_SETFD, 0); ferr != nil {
				err = ferr
				return
			}
		}
		linger := "0"
		if v.rules.Linger != 0 {
			linger = "1"
		}
		argv := []string{path, "watch", strconv.Itoa(pid), linger, strconv.Itoa(int(fd)), strconv.Itoa(v.keeper.fd)}
		if v.rules.Linger > 0 || socket != "" {
			argv = append(argv, strconv.Itoa(max(v.rules.Linger, 0)))
		}
		if socket != "" {
			argv = append(argv, socket)
		}
		coverage.Flush()
		err = unix.Exec(path, argv, []string{})
	}); cerr != nil {
		err = cerr
	}
	return fmt.Errorf("%s: %w", path, err)
}

// How long after SIGHUP the session's processes get SIGTERM, and how long until
// SIGKILL; and how often it is looked whether any are left.
const (
	termDelay    = 500 * time.Millisecond
	killDelay    = 1500 * time.Millisecond
	pollInterval = 20 * time.Millisecond
)

// Terminate ends all that is left of a session: berth-init watch becomes this when the
// session is over and something is. Descriptor 3 is the keeper's connection.
func Terminate() error {
	unix.CloseOnExec(3)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("undumpable: %w", err)
	}
	childless := make(chan struct{})
	go func() {
		defer close(childless)
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return // ECHILD
			}
		}
	}()
	terminateDescendants(childless)
	(&keeper{fd: 3}).sendDone()
	return nil
}

// terminateDescendants ends all descendants: SIGHUP, then SIGTERM, then SIGKILL until there
// is none.
func terminateDescendants(childless <-chan struct{}) {
	signalDescendants(unix.SIGHUP, unix.SIGCONT)
	start := time.Now()
	termSent := false
	for {
		select {
		case <-childless:
			return
		case <-time.After(pollInterval):
		}
		switch elapsed := time.Since(start); {
		case elapsed >= killDelay:
			// Stopped first: what is being killed cannot fork any more.
			signalDescendants(unix.SIGSTOP)
			signalDescendants(unix.SIGKILL)
		case elapsed >= termDelay && !termSent:
			termSent = true
			signalDescendants(unix.SIGTERM, unix.SIGCONT)
		}
	}
}

func signalDescendants(signals ...unix.Signal) {
	proc := proctree.Proc()
	pids := append(proctree.Descendants(proc, os.Getpid()), proctree.Children(proc)...)
	slices.Sort(pids)
	proctree.Signal(slices.Compact(pids), signals...)
}
