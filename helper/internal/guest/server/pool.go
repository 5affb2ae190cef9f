// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest server. As: container root.
//
// Supervisors are started before they are needed: a login does not wait for one
// to be executed.

package server

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"berth/helper/internal/link/lifeline"

	"golang.org/x/sys/unix"
)

const (
	// refillPause is how long after a login its spare is replaced: the processor is
	// the login's first.
	refillPause = 10 * time.Millisecond
	// retryPause is the pause after the spawner could not start one.
	retryPause = time.Second
	// takeTimeout is how long a caller waits for a supervisor.
	takeTimeout = 8 * time.Second
)

// pool are the supervisors without a session.
type pool struct {
	spawner syscall.RawConn
	count   int // how many are to wait
	spares  chan *lifeline.Conn
	errs    chan error // for a caller that waits; with none it is dropped

	mu        sync.Mutex
	requested int // and not yet answered
	waiting   int // callers who have none yet
}

func newPool(fd, count int) (*pool, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("spawner: %w", err)
	}
	raw, err := os.NewFile(uintptr(fd), "spawner").SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("spawner: %w", err)
	}
	p := &pool{spawner: raw, count: count, spares: make(chan *lifeline.Conn, 256), errs: make(chan error)}
	p.topUp()
	return p, nil
}

// topUp asks for as many as there should be, beside those that callers wait for, and
// lets go of those that are too many: a caller had not waited for its own.
func (p *pool) topUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.waiting == 0 && len(p.spares) > p.count {
		select {
		case spare := <-p.spares:
			spare.Close()
		default: // a caller was quicker
		}
	}
	for p.requested+len(p.spares)-p.waiting < p.count && p.requested < cap(p.spares) {
		var err error
		if cerr := p.spawner.Write(func(fd uintptr) bool {
			err = unix.Sendto(int(fd), []byte(requestMessage), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
			return true
		}); cerr != nil || err != nil {
			return // too many requests wait already, or the spawner has ended: then so do we
		}
		p.requested++
	}
}

// receive takes what the spawner answers, until it has gone.
func (p *pool) receive() error {
	for {
		text, oob := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
		var n, oobn int
		var err error
		if rerr := p.spawner.Read(func(fd uintptr) bool {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), text, oob, unix.MSG_CMSG_CLOEXEC)
			return !errors.Is(err, unix.EAGAIN)
		}); rerr != nil {
			return fmt.Errorf("spawner: %w", rerr)
		}
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return fmt.Errorf("the spawner has ended: %w", errors.Join(err, unix.EPIPE))
		}
		spare, err := parseAnswer(string(text[:n]), oob[:oobn])
		p.mu.Lock()
		p.requested--
		p.mu.Unlock()
		if err != nil {
			select {
			case p.errs <- err:
			default:
			}
			time.AfterFunc(retryPause, p.topUp)
			continue
		}
		select {
		case p.spares <- spare:
		default:
			spare.Close() // a server before this one had asked for many
		}
		if len(p.spares) > p.count {
			p.topUp()
		}
	}
}

func parseAnswer(text string, oob []byte) (*lifeline.Conn, error) {
	if text != startedMessage {
		return nil, errors.New(text[len(failurePrefix):])
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("spawner: no descriptor: %w", errors.Join(err, unix.EBADMSG))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, fmt.Errorf("spawner: %w", err)
	}
	return lifeline.New(fds[0])
}

// take returns a supervisor that waits.
func (p *pool) take() (*lifeline.Conn, error) {
	defer time.AfterFunc(refillPause, p.topUp)
	select {
	case spare := <-p.spares:
		return spare, nil
	default:
	}
	p.mu.Lock()
	p.waiting++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
	}()
	p.topUp()
	timeout := time.NewTimer(takeTimeout)
	defer timeout.Stop()
	select {
	case spare := <-p.spares:
		return spare, nil
	case err := <-p.errs:
		return nil, err
	case <-timeout.C:
		return nil, os.ErrDeadlineExceeded
	}
}
