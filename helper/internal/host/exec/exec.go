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

// Opened is what the privileged moment left: the only way to the engine that
// this process will ever have.
type Opened struct {
	Engine   []int // connected sockets
	Listener int   // the lifeline, listening
	Name     string
}

// ErrImpostor is something that is not container root at the lifeline's end.
var ErrImpostor = errors.New("the lifeline was taken by somebody else")

// Transport has the engine start one exec for the session and waits for its
// guest to call and to have become the user.
func Transport(p policy.Policy, opened Opened) func(context.Context, []byte) (*lifeline.Conn, error) {
	return func(ctx context.Context, identity []byte) (*lifeline.Conn, error) {
		line, err := call(ctx, p, opened)
		if err != nil {
			return nil, err
		}
		if err = line.SetDeadline(time.Now().Add(p.Session.Timeout)); err == nil {
			_, err = line.Ask(lifeline.Identity, identity, lifeline.Ready)
		}
		if err != nil {
			line.Close()
			return nil, err
		}
		return line, nil
	}
}

// answer is what came of waiting for the guest.
type answer struct {
	line *lifeline.Conn
	err  error
}

// call waits for the engine and the guest at once: the guest is the quicker one.
// The connections to the engine are closed when it has answered.
func call(ctx context.Context, p policy.Policy, opened Opened) (*lifeline.Conn, error) {
	entered := make(chan error, 1)
	go func() { entered <- enter(ctx, p, opened) }()
	called := make(chan answer, 1)
	deadline := time.Now().Add(p.Engine.Timeout + p.Session.Timeout)
	go func() {
		line, err := guest(opened.Listener, deadline)
		called <- answer{line, err}
	}()
	select {
	case a := <-called:
		return a.line, a.err
	case err := <-entered:
		if err != nil {
			return nil, err // and whoever calls now calls in vain: we end
		}
	}
	select {
	case a := <-called:
		return a.line, a.err
	case <-time.After(p.Session.Timeout):
		return nil, fmt.Errorf("waiting for the guest: %w", os.ErrDeadlineExceeded)
	}
}

// enter asks the engine for the one thing that it is asked for.
func enter(ctx context.Context, p policy.Policy, opened Opened) error {
	dial := &handover{fds: opened.Engine}
	defer dial.close()
	eng, err := engine.Open(p.Engine.Socket, dial.dial)
	if err != nil {
		return err
	}
	defer eng.Close()
	bounded, cancel := context.WithTimeout(ctx, p.Engine.Timeout)
	defer cancel()
	argv := []string{paths.GuestProgram, "session", opened.Name}
	return eng.Enter(bounded, p.Container.Name, p.Container.Heal, argv)
}

// guest waits for the lifeline's other end. The directory lets root and the
// engine's group in; of these, berth starts the guest as root.
func guest(listener int, deadline time.Time) (*lifeline.Conn, error) {
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

// handover gives out connected sockets, each once.
type handover struct {
	mu  sync.Mutex
	fds []int
}

func (h *handover) dial(context.Context) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.fds) == 0 {
		return nil, errors.New("no connection to the engine is left")
	}
	file := os.NewFile(uintptr(h.fds[0]), "engine")
	h.fds = h.fds[1:]
	defer file.Close() // FileConn duplicates it
	return net.FileConn(file)
}

func (h *handover) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, fd := range h.fds {
		unix.Close(fd)
	}
	h.fds = nil
}
