// SPDX-License-Identifier: Apache-2.0

// Process: berth-enter server. As: container root.
//
// Supervisors are started before they are needed: a login does not wait for one
// to be executed. One that waits has read nothing and knows nobody.

package serve

import (
	"fmt"
	"syscall"
	"time"

	"berth/helper/internal/lifeline"

	"golang.org/x/sys/unix"
)

// spare is how many supervisors wait for a session.
const spare = 4

// quiet is how long after a login its spare is replaced: the processor is the
// login's first.
const quiet = 10 * time.Millisecond

// refill keeps as many supervisors waiting as there should be.
func (s *server) refill() {
	for {
		s.mu.Lock()
		var err error
		for len(s.waiting) < spare && err == nil {
			_, _, err = s.supervisor()
		}
		if err != nil {
			s.log.logf(time.Now(), 0, "supervisor: %v", err)
		}
		s.mu.Unlock()
		<-s.wanted
		time.Sleep(quiet)
	}
}

// supervisor starts one that waits. It is called with the lock held: else it
// could be reaped before it is known.
func (s *server) supervisor() (int, *lifeline.Conn, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(ends[1])
	way, err := lifeline.New(ends[0])
	if err != nil {
		unix.Close(ends[0])
		return 0, nil, err
	}
	pid, err := spawn(append([]string{"session", "-"}, s.rules.Words()...), []int{-1, -1, -1, ends[1]}, &syscall.SysProcAttr{Setsid: true})
	if err != nil {
		way.Close()
		return 0, nil, err
	}
	s.waiting[pid] = way
	return pid, way, nil
}

// start hands the connection to a supervisor and tells the keeper: in this
// order, or a server that died between the two would leave a session that the
// keeper takes for what a dead one left.
func (s *server) start(line *lifeline.Conn, peer lifeline.Peer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		select {
		case s.wanted <- struct{}{}:
		default:
		}
	}()
	for {
		pid, way, err := s.one()
		if err != nil {
			return fmt.Errorf("supervisor: %w", err)
		}
		s.sessions[pid] = peer.UID
		fmt.Fprintf(s.report, "+%d\n", pid)
		cerr := line.Control(func(fd uintptr) { err = way.Send(lifeline.Hello, nil, int(fd)) })
		way.Close()
		switch {
		case cerr != nil:
			err = cerr
		case err == nil:
			return nil
		}
		// It has died meanwhile, and will be reaped; or the caller is gone.
		delete(s.sessions, pid)
		fmt.Fprintf(s.report, "-%d\n", pid)
		if cerr != nil {
			return cerr
		}
	}
}

// one takes a waiting supervisor, or starts one.
func (s *server) one() (int, *lifeline.Conn, error) {
	for pid, way := range s.waiting {
		delete(s.waiting, pid)
		return pid, way, nil
	}
	pid, way, err := s.supervisor()
	delete(s.waiting, pid)
	return pid, way, err
}
