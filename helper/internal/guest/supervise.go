// SPDX-License-Identifier: Apache-2.0

// Process: berth-enter. As: the user.

package guest

import (
	"errors"
	"os"
	"time"

	"berth/helper/internal/lifeline"
	"berth/helper/internal/tree"

	"golang.org/x/sys/unix"
)

// How long after the session's end its processes are asked, then told, then
// made to go.
const (
	untilTerm = 500 * time.Millisecond
	untilKill = 1500 * time.Millisecond
	again     = 20 * time.Millisecond
)

// supervise waits for the program's end or the lifeline's, whichever is first,
// and returns when no process of the session is left.
func (s *running) supervise(line *lifeline.Conn) error {
	ended := make(chan lifeline.Ending, 1) // the program has
	childless := make(chan struct{})       // everything has
	go s.reap(ended, childless)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.obey(line)
	}()
	var err error
	select {
	case ending := <-ended:
		err = line.Send(lifeline.Exit, ending.Pack())
		line.Close()
	case <-gone:
		// As the kernel does to a session whose terminal went away.
		_ = unix.Kill(-s.pid, unix.SIGHUP)
		_ = unix.Kill(-s.pid, unix.SIGCONT)
	}
	if s.linger {
		<-childless
		return err
	}
	endAll(childless)
	return err
}

// reap collects every child, born or inherited, until there is none.
func (s *running) reap(ended chan<- lifeline.Ending, childless chan<- struct{}) {
	defer close(childless)
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return // ECHILD
		case pid == s.pid && status.Signaled():
			ended <- lifeline.Ending{Signal: int(status.Signal())}
		case pid == s.pid && status.Exited():
			ended <- lifeline.Ending{Status: status.ExitStatus()}
		}
	}
}

// obey passes signals on until the lifeline closes, or says something else.
func (s *running) obey(line *lifeline.Conn) {
	for {
		kind, body, err := line.Recv(1)
		if err != nil || kind != lifeline.Signal || len(body) != 1 {
			return
		}
		_ = unix.Kill(-s.pid, unix.Signal(body[0]))
	}
}

// endAll ends all descendants: SIGHUP, then SIGTERM, then SIGKILL until there
// is none.
func endAll(childless <-chan struct{}) {
	// Most sessions leave nothing behind, and looking takes a while where there
	// are many.
	select {
	case <-childless:
		return
	case <-time.After(time.Millisecond):
	}
	signalAll(unix.SIGHUP, unix.SIGCONT)
	start := time.Now()
	termed := false
	for {
		select {
		case <-childless:
			return
		case <-time.After(again):
		}
		switch elapsed := time.Since(start); {
		case elapsed >= untilKill:
			// Stopped first: what is being killed cannot fork any more.
			signalAll(unix.SIGSTOP)
			signalAll(unix.SIGKILL)
		case elapsed >= untilTerm && !termed:
			termed = true
			signalAll(unix.SIGTERM, unix.SIGCONT)
		}
	}
}

func signalAll(signals ...unix.Signal) {
	tree.Signal(tree.Descendants(tree.Proc(), os.Getpid()), signals...)
}
