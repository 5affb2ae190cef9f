// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest server. As: container root. It never waits for a caller
// anywhere but in that caller's own goroutine, and there with a deadline. It starts
// no process.

package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/drain"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/record"
	"berth/helper/internal/link/rules"

	"golang.org/x/sys/unix"
)

// firstByteTimeout is how long a caller may say nothing.
const firstByteTimeout = 10 * time.Second

// Descriptors that a server inherits.
const (
	listenerFD = 3
	startFD    = 4 // a byte comes when this server is to serve, and says how
	spawnerFD  = 5
)

// onDemand is the byte that tells a server to end when it has had no caller for a while: the
// keeper starts another when one comes.
const onDemand = 'd'

// restTime is how long that is; it is no longer than the rule idle.
const restTime = 10 * time.Second

// server is what one server knows. Sessions do not depend on it.
type server struct {
	rules rules.Rules
	pool  *pool

	rest  time.Duration // of a server on demand; 0: it does not end
	count atomic.Int64  // of callers that are being handled

	mu      sync.Mutex
	callers map[uint32]int // a user's connections that have no supervisor yet
	log     limiter
}

// Serve stands by until it is told to serve, then accepts sessions until it is
// told to end. What it needs for that, it has before: when the one before it has
// died there may be no room for anything new.
func Serve() error {
	r, err := rules.Load(filepath.Join(paths.Serve, rules.File))
	if err != nil {
		return fmt.Errorf("nobody is served: %w; run `berth up`", err)
	}
	debug.SetGCPercent(gcPercent)
	for _, fd := range []int{listenerFD, startFD, spawnerFD} {
		unix.CloseOnExec(fd)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	failed := make(chan error, 2)
	go func() { failed <- serve(r, failed) }()
	select {
	case <-end:
		return nil
	case err := <-failed:
		return err
	}
}

func serve(r rules.Rules, failed chan<- error) error {
	var one [1]byte
	start := os.NewFile(startFD, "start")
	if _, err := io.ReadFull(start, one[:]); err != nil {
		return nil // it is not needed any more
	}
	start.Close()
	s := &server{rules: r, callers: map[uint32]int{}, log: limiter{write: logf}}
	spares := r.Spares
	if one[0] == onDemand {
		s.rest = restTime
		if r.Idle > 0 {
			s.rest = min(s.rest, time.Duration(r.Idle)*time.Second)
		}
		// For as long as it is here. PAM's look at the socket starts us: the login that
		// follows finds a supervisor.
		spares = max(spares, 1)
	}
	var err error
	if s.pool, err = newPool(spawnerFD, spares); err != nil {
		return err
	}
	go func() { failed <- s.pool.receive() }()
	return s.accept()
}

// accept hands each caller to a goroutine of its own. On demand it returns when none is left:
// whoever connects then stays in the socket's queue.
func (s *server) accept() error {
	listener := os.NewFile(listenerFD, "listener")
	raw, err := listener.SyscallConn()
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	for {
		var fd int
		if s.rest > 0 {
			if err := listener.SetReadDeadline(time.Now().Add(s.rest)); err != nil {
				return fmt.Errorf("listener: %w", err)
			}
		}
		rerr := raw.Read(func(listener uintptr) bool {
			fd, _, err = unix.Accept4(int(listener), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return !errors.Is(err, unix.EAGAIN)
		})
		switch {
		case errors.Is(rerr, os.ErrDeadlineExceeded) && s.count.Load() == 0:
			return nil
		case errors.Is(rerr, os.ErrDeadlineExceeded):
		case rerr != nil:
			return fmt.Errorf("listener: %w", rerr)
		case err == nil:
			s.count.Add(1)
			go func() {
				defer s.count.Add(-1)
				s.handle(fd)
			}()
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
			// What is open has a deadline.
			time.Sleep(20 * time.Millisecond)
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

// handle takes one caller from who it is to its supervisor.
func (s *server) handle(fd int) {
	line, err := lifeline.New(fd)
	if err != nil {
		unix.Close(fd)
		return
	}
	defer line.Close()
	peer, err := line.Peer()
	if err != nil {
		s.refuse(line, peer, err)
		return
	}
	if err := s.check(peer); err != nil {
		s.refuse(line, peer, err)
		return
	}
	if !s.addCaller(peer.UID) {
		s.refuse(line, peer, loginerror.Deny(fmt.Sprintf("%d of your logins are still being opened, which is the limit; try again in a moment", s.rules.Limit), errCallerLimit))
		return
	}
	defer s.removeCaller(peer.UID)
	if line.SetDeadline(time.Now().Add(firstByteTimeout)) != nil || line.AwaitByte() != nil {
		return // gone, or silent: there is nobody to tell
	}
	if err := s.handOver(line); err != nil {
		s.refuse(line, peer, err)
	}
}

// handOver hands the connection to a supervisor.
func (s *server) handOver(line *lifeline.Conn) error {
	for {
		spare, err := s.pool.take()
		if err != nil {
			return fmt.Errorf("supervisor: %w", err)
		}
		cerr := line.Control(func(fd uintptr) { err = spare.Send(lifeline.Hello, nil, int(fd)) })
		if s.rest > 0 && cerr == nil && err == nil {
			awaitTaken(spare)
		}
		spare.Close()
		// One that has died while it waited is followed by the next.
		if cerr != nil || err == nil {
			return cerr
		}
	}
}

// awaitTaken waits until a supervisor has taken what it was sent: by then the keeper knows it,
// and the container does not end although this server does.
func awaitTaken(spare *lifeline.Conn) {
	if spare.SetDeadline(time.Now().Add(takeTimeout)) == nil {
		_ = spare.AwaitByte() // it closes its end, and says nothing
	}
}

var errCallerLimit = errors.New("too many callers")

// refuse tells the caller and the log why there is no session.
func (s *server) refuse(line *lifeline.Conn, peer lifeline.Peer, why error) {
	s.mu.Lock()
	if peer.UID != 0 || peer.PID != 0 { // root of the host is `berth`, which asks whether anybody answers
		s.log.logf(time.Now(), peer.UID, "refused uid %d, gid %d: %s", peer.UID, peer.GID, why)
	}
	s.mu.Unlock()
	// The socket is new and its buffer empty: this does not wait.
	if line.SetDeadline(time.Now().Add(time.Second)) == nil {
		refusal := loginerror.Of(fmt.Errorf("the server: %w", why), loginerror.NotStartedInside)
		_ = line.Send(lifeline.Failure, lifeline.PackRefusal(refusal))
	}
}

// check returns why peer is not served now, or nil. It goes by the kernel's word.
func (s *server) check(peer lifeline.Peer) error {
	caller := access.Caller{UID: peer.UID, GID: peer.GID, Groups: peer.Groups, PID: peer.PID, HasAccount: record.Exists(paths.Names, peer.UID)}
	if err := access.Check(caller, s.rules.Limits()); err != nil {
		return err
	}
	return drain.Check(filepath.Join(paths.Serve, paths.Drain))
}

// addCaller counts one more connection of uid's, unless there are too many.
func (s *server) addCaller(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callers[uid] >= s.rules.Limit {
		return false
	}
	s.callers[uid]++
	return true
}

func (s *server) removeCaller(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callers[uid]--; s.callers[uid] <= 0 {
		delete(s.callers, uid)
	}
}
