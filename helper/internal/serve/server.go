// SPDX-License-Identifier: Apache-2.0

// Process: berth-enter server. As: container root, whose only capabilities are
// SETUID and SETGID, which its children need. It never waits for a caller
// anywhere but in that caller's own goroutine, and there with a deadline.

package serve

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"berth/helper/internal/lifeline"
	"berth/helper/internal/place"
	"berth/helper/internal/record"
	"berth/helper/internal/rules"

	"golang.org/x/sys/unix"
)

// silence is how long a caller may say nothing.
const silence = 10 * time.Second

// server is what one server knows. Its sessions are not lost with it.
type server struct {
	rules  rules.Rules
	report *os.File

	mu       sync.Mutex
	waiting  map[int]*lifeline.Conn // supervisors without a session: the way to hand them one
	wanted   chan struct{}          // has one when more should wait
	sessions map[int]uint32         // a supervisor's pid: its user
	open     map[uint32]int         // a user's sessions, those being opened included
	log      limiter
}

// Serve accepts sessions on the listener that the keeper left, until it is told
// to end.
func Serve(words []string) error {
	r, err := rules.Parse(words)
	if err != nil {
		return err
	}
	debug.SetGCPercent(thrifty)
	unix.CloseOnExec(listenerFD)
	unix.CloseOnExec(reportFD)
	s := &server{rules: r, report: os.NewFile(reportFD, "report"),
		waiting: map[int]*lifeline.Conn{}, wanted: make(chan struct{}, 1), sessions: map[int]uint32{}, open: map[uint32]int{}, log: limiter{say: logf}}
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM)
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	go func() {
		for range died {
			s.reap()
		}
	}()
	go s.refill()
	failed := make(chan error, 1)
	go func() { failed <- s.accept() }()
	select {
	case <-end:
		return nil
	case err := <-failed:
		return err
	}
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
			return err != unix.EAGAIN
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
		s.refuse(line, peer, refusal{fmt.Sprintf("you have %d sessions, and more are not allowed; end one", s.rules.Limit), "too many sessions"})
		return
	}
	started := false
	defer func() {
		if !started {
			s.leave(peer.UID)
		}
	}()
	if line.SetDeadline(time.Now().Add(silence)) != nil || line.AwaitByte() != nil {
		return // gone, or silent: there is nobody to tell
	}
	if err := s.start(line, peer); err != nil {
		s.refuse(line, peer, refusal{"the session could not be started in the container", err.Error()})
		return
	}
	started = true
}

// refusal is why somebody is not served: for her, and for the log.
type refusal struct{ user, cause string }

func (s *server) refuse(line *lifeline.Conn, peer lifeline.Peer, r refusal) {
	s.mu.Lock()
	s.log.logf(time.Now(), peer.UID, "refused uid %d, gid %d: %s", peer.UID, peer.GID, r.cause)
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
	case peer.UID > numbered && !record.Exists(place.Names, peer.UID):
		return no("the uid may be of a user namespace: PAM has recorded no names for it")
	}
	return nil
}

func (s *server) enter(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[uid] >= s.rules.Limit {
		return false
	}
	s.open[uid]++
	return true
}

func (s *server) leave(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(uid)
}

// release is leave with the lock held.
func (s *server) release(uid uint32) {
	if s.open[uid]--; s.open[uid] <= 0 {
		delete(s.open, uid)
	}
}

// reap waits for what has ended. A supervisor that was killed leaves processes
// to the keeper.
func (s *server) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	collect(func(pid int, status unix.WaitStatus) {
		if way, idle := s.waiting[pid]; idle {
			way.Close()
			delete(s.waiting, pid)
		}
		uid, ours := s.sessions[pid]
		if !ours {
			return
		}
		delete(s.sessions, pid)
		s.release(uid)
		sign := '-'
		if !status.Exited() {
			sign = '!'
			s.log.logf(time.Now(), uid, "the supervisor %d of uid %d died of signal %d; its session is ended", pid, uid, status.Signal())
		}
		fmt.Fprintf(s.report, "%c%d\n", sign, pid)
	})
}
