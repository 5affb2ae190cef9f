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
	"slices"
	"sync"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/record"
	"berth/helper/internal/link/rules"

	"golang.org/x/sys/unix"
)

// silence is how long a caller may say nothing.
const silence = 10 * time.Second

// Descriptors that a server inherits.
const (
	listenerFD = 3
	startFD    = 4 // a byte comes when this server is to serve
	spawnerFD  = 5
)

// server is what one server knows. Sessions do not depend on it.
type server struct {
	rules rules.Rules
	pool  *pool

	mu      sync.Mutex
	callers map[uint32]int // a user's connections that have no supervisor yet
	log     limiter
}

// Serve stands by until it is told to serve, then accepts sessions until it is
// told to end. What it needs for that, it has before: when the one before it has
// died there may be no room for anything new.
func Serve() error {
	r, err := rules.Load(filepath.Join(paths.Names, rules.File))
	if err != nil {
		return fmt.Errorf("nobody is served: %w; run `berth up`", err)
	}
	debug.SetGCPercent(thrifty)
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
	p, err := newPool(spawnerFD)
	if err != nil {
		return err
	}
	s := &server{rules: r, pool: p, callers: map[uint32]int{}, log: limiter{say: logf}}
	go func() { failed <- p.fill() }()
	return s.accept()
}

// accept hands each caller to a goroutine of its own.
func (s *server) accept() error {
	listener := os.NewFile(listenerFD, "listener")
	raw, err := listener.SyscallConn()
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	for {
		var fd int
		if rerr := raw.Read(func(listener uintptr) bool {
			fd, _, err = unix.Accept4(int(listener), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return !errors.Is(err, unix.EAGAIN)
		}); rerr != nil {
			return fmt.Errorf("listener: %w", rerr)
		}
		switch {
		case err == nil:
			go s.handle(fd)
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
		s.refuse(line, peer, refusal{"the session could not be started in the container", err.Error()})
		return
	}
	if no := s.judge(peer); no != nil {
		s.refuse(line, peer, *no)
		return
	}
	if !s.enter(peer.UID) {
		s.refuse(line, peer, refusal{fmt.Sprintf("you have %d logins under way, and more are not allowed", s.rules.Limit), "too many callers"})
		return
	}
	defer s.leave(peer.UID)
	if line.SetDeadline(time.Now().Add(silence)) != nil || line.AwaitByte() != nil {
		return // gone, or silent: there is nobody to tell
	}
	if err := s.start(line); err != nil {
		s.refuse(line, peer, refusal{"the session could not be started in the container", err.Error()})
	}
}

// start hands the connection to a supervisor.
func (s *server) start(line *lifeline.Conn) error {
	for {
		way, err := s.pool.take()
		if err != nil {
			return fmt.Errorf("supervisor: %w", err)
		}
		cerr := line.Control(func(fd uintptr) { err = way.Send(lifeline.Hello, nil, int(fd)) })
		way.Close()
		// One that has died while it waited is followed by the next.
		if cerr != nil || err == nil {
			return cerr
		}
	}
}

// refusal is why a caller is not served: in words for the user, and for the log.
type refusal struct{ user, cause string }

func (s *server) refuse(line *lifeline.Conn, peer lifeline.Peer, r refusal) {
	s.mu.Lock()
	if peer.UID != 0 || peer.PID != 0 { // root of the host is `berth`, which asks whether anybody answers
		s.log.logf(time.Now(), peer.UID, "refused uid %d, gid %d: %s", peer.UID, peer.GID, r.cause)
	}
	s.mu.Unlock()
	// The socket is new and its buffer empty: this does not wait.
	if line.SetDeadline(time.Now().Add(time.Second)) == nil {
		_ = line.Send(lifeline.Failure, lifeline.Refusal{Status: 255, User: r.user, Cause: "the server: " + r.cause}.Pack())
	}
}

// numbered is the last uid that is served without a record of its names. Above
// it are the ids that a user of the host may take on in a user namespace
// (subuid(5)); a directory server's users have theirs recorded when PAM opens
// their session.
const numbered = 60000

// judge returns why peer is not served, or nil. What it goes by is the kernel's.
func (s *server) judge(peer lifeline.Peer) *refusal {
	no := func(cause string) *refusal { return &refusal{"this account is not one of this gateway's users", cause} }
	groups := append(slices.Clone(peer.Groups), peer.GID)
	switch {
	case peer.PID != 0:
		// A process of the host has no number in this pid namespace.
		return no(fmt.Sprintf("the caller is in the container, pid %d", peer.PID))
	case peer.UID == 0:
		return no("root")
	case peer.UID == rules.Overflow, peer.GID == rules.Overflow:
		return no("the caller's ids mean nothing here")
	case peer.UID < s.rules.UIDMin, peer.UID > s.rules.UIDMax, rules.Impersonal(peer.UID):
		return no("the uid is out of range")
	case slices.Contains(groups, 0):
		return no("the caller is in the group of root")
	case slices.ContainsFunc(groups, func(g uint32) bool { return slices.Contains(s.rules.Held, g) }):
		return no("the caller is in the container engine's group")
	case peer.UID > numbered && !record.Exists(paths.Names, peer.UID):
		return no("the uid may be of a user namespace: PAM has recorded no names for it")
	}
	return nil
}

func (s *server) enter(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callers[uid] >= s.rules.Limit {
		return false
	}
	s.callers[uid]++
	return true
}

func (s *server) leave(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callers[uid]--; s.callers[uid] <= 0 {
		delete(s.callers, uid)
	}
}
