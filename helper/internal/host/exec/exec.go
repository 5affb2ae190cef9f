// SPDX-License-Identifier: Apache-2.0

// Package exec is the transport that has the engine start an exec for each
// session: its guest calls back on the lifeline that berth-session listens on.
package exec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"berth/helper/internal/admin/engine"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// Sockets is what the privileged moment left: the only way to the engine that
// this process will ever have.
type Sockets struct {
	Engine   []int // connected sockets
	Listener int   // the lifeline, listening
	Name     string
}

// ErrImpostor is something that is not container root at the lifeline's end.
var ErrImpostor = errors.New("the lifeline was taken by somebody else")

// Transport has the engine start one exec for the session and waits for its
// guest to call and to have become the user.
func Transport(p policy.Policy, sockets Sockets) func(context.Context, []byte) (*lifeline.Conn, error) {
	return func(ctx context.Context, identity []byte) (*lifeline.Conn, error) {
		line, err := connect(ctx, p, sockets)
		if err != nil {
			return nil, err
		}
		if err = line.SetDeadline(time.Now().Add(p.Session.Timeout)); err == nil {
			err = line.AskReady(lifeline.Identity, identity)
		}
		if err != nil {
			line.Close()
			return nil, err
		}
		return line, nil
	}
}

// result is what came of waiting for the guest.
type result struct {
	line *lifeline.Conn
	err  error
}

// connect waits for the engine and the guest at once: the guest is the quicker one.
// The connections to the engine are closed when it has answered.
func connect(ctx context.Context, p policy.Policy, sockets Sockets) (*lifeline.Conn, error) {
	engineAnswer := make(chan error, 1)
	go func() { engineAnswer <- startGuest(ctx, p, sockets) }()
	guestCall := make(chan result, 1)
	deadline := time.Now().Add(p.Engine.Timeout + p.Session.Timeout)
	go func() {
		line, err := acceptGuest(sockets.Listener, deadline)
		guestCall <- result{line, err}
	}()
	select {
	case r := <-guestCall:
		return r.line, r.err
	case err := <-engineAnswer:
		if err != nil {
			return nil, err // and whoever calls now calls in vain: we end
		}
	}
	select {
	case r := <-guestCall:
		return r.line, r.err
	case <-time.After(p.Session.Timeout):
		return nil, fmt.Errorf("waiting for the guest: %w", os.ErrDeadlineExceeded)
	}
}

// startGuest asks the engine for the one thing that it is asked for.
func startGuest(ctx context.Context, p policy.Policy, sockets Sockets) error {
	d := &dialer{fds: sockets.Engine}
	defer d.close()
	eng, err := engine.Open(p.Engine.Socket, d.dial)
	if err != nil {
		return err
	}
	defer eng.Close()
	bounded, cancel := context.WithTimeout(ctx, p.Engine.Timeout)
	defer cancel()
	argv := []string{paths.GuestProgram, "session", sockets.Name}
	return eng.Enter(bounded, p.Container.Name, p.Container.Heal, argv)
}

// acceptGuest waits for the lifeline's other end. The directory lets root and the
// engine's group in; of these, berth starts the guest as root.
func acceptGuest(listener int, deadline time.Time) (*lifeline.Conn, error) {
	defer unix.Close(listener)
	line, err := lifeline.Accept(listener, deadline)
	if err != nil {
		return nil, fmt.Errorf("waiting for the guest: %w", err)
	}
	peer, err := line.Peer()
	if err == nil && peer.UID != 0 {
		err = fmt.Errorf("uid %d, pid %d: %w", peer.UID, peer.PID, ErrImpostor)
	}
	if err != nil {
		line.Close()
		return nil, err
	}
	return line, nil
}

// dialer gives out connected sockets, each once.
type dialer struct {
	mu  sync.Mutex
	fds []int
}

func (d *dialer) dial(context.Context) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fds) == 0 {
		return nil, errors.New("no connection to the engine is left")
	}
	file := os.NewFile(uintptr(d.fds[0]), "engine")
	d.fds = d.fds[1:]
	defer file.Close() // FileConn duplicates it
	return net.FileConn(file)
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, fd := range d.fds {
		unix.Close(fd)
	}
	d.fds = nil
}
