// SPDX-License-Identifier: Apache-2.0

// Package session is one login seen from the host: it puts the request
// together, has the transport start the guest, hands over or relays the bytes,
// and returns how the program ended.
//
// Process: berth-session. As: the user, who holds no other right by now.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"berth/helper/internal/host/identity"
	"berth/helper/internal/host/request"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/terminal"

	"golang.org/x/sys/unix"
)

// Transport starts the session's guest in the container, has checked that it is
// the other end, and returns the lifeline to it when it is ready; the body of an
// Identity frame has been sent. Until then nothing has been asked for: another
// way may be tried.
type Transport func(ctx context.Context, identity []byte) (*lifeline.Conn, error)

// Session is what a login needs, complete.
type Session struct {
	Account identity.Account
	Request request.Request
	Shells  []string // candidates inside, best first
	Start   lifeline.StartRequest
	Timeout time.Duration // for the guest's answer, once it is connected
	// Ready is called with what the guest says of itself. Its error refuses the session.
	Ready func(lifeline.Guest) error
	// Agent connects to the user's ssh-agent; nil: there is none. Warn logs why the session
	// does not get it.
	Agent func() (*os.File, error)
	Warn  func(text string)
	// Started is called with the name of the program's terminal when it runs.
	Started func(tty string)
	// AfterStart is called when the program has run for a second: the long wait begins.
	AfterStart func()
}

// Traffic is how many bytes went through a session's terminal. Without one the
// program reads and writes sshd's own pipes: nobody counts.
type Traffic struct {
	TTY     bool
	In, Out int64
}

// ErrLost is a session whose guest went away without saying how it ended.
var ErrLost = loginerror.New("the session was lost: the container or its supervisor ended", errors.New("the session was lost"))

// ErrHungUp is a session whose client went away.
var ErrHungUp = errors.New("the client is gone")

// Run opens the session and returns how its program ended.
func (s *Session) Run(ctx context.Context, transport Transport) (lifeline.Ending, Traffic, error) {
	tty := HasTTY()
	if tty {
		restore, err := s.takeTerminal()
		if err != nil {
			return lifeline.Ending{}, Traffic{}, err
		}
		defer restore()
	}
	names := lifeline.Names{User: s.Account.Name, Gecos: s.Account.Gecos, Home: s.Account.Home, Shells: s.Shells, Groups: s.Account.Groups}
	line, err := transport(ctx, names.Pack())
	if err != nil {
		return lifeline.Ending{}, Traffic{}, err
	}
	defer line.Close()
	if err := s.Ready(line.Guest()); err != nil {
		return lifeline.Ending{}, Traffic{}, err
	}
	// Not before: from here on the input is being read.
	stdio, err := openStdio(tty)
	if err != nil {
		return lifeline.Ending{}, Traffic{}, err
	}
	defer stdio.Close()
	name, master, err := s.handshake(line, stdio)
	if err != nil {
		return lifeline.Ending{}, Traffic{}, err
	}
	s.Started(name)
	// Not before: most commands are short.
	after := time.AfterFunc(time.Second, s.AfterStart)
	defer after.Stop()
	if master != nil {
		size := terminal.Size{Row: s.Start.Rows, Col: s.Start.Cols, Xpixel: s.Start.XPixels, Ypixel: s.Start.YPixels}
		return relayTTY(line, os.Stdin, os.Stdout, master, size)
	}
	ending, err := relayPipes(line, stdio)
	return ending, Traffic{}, err
}

// takeTerminal asks for a terminal inside that is like the session's, and makes
// that raw. It is done first of all: what is typed ahead from here on is for the
// terminal inside to echo and to interpret.
func (s *Session) takeTerminal() (restore func(), err error) {
	if s.Start.Termios, err = terminal.Modes(0); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	size, err := terminal.GetSize(0)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	s.Start.TTY, s.Start.Rows, s.Start.Cols, s.Start.XPixels, s.Start.YPixels = true, size.Row, size.Col, size.Xpixel, size.Ypixel
	return terminal.Raw(0)
}

// handshake sends the request and returns the tty's name and the pty's master,
// if there is one.
func (s *Session) handshake(line *lifeline.Conn, stdio *stdio) (string, *os.File, error) {
	if err := line.SetDeadline(time.Now().Add(s.Timeout)); err != nil {
		return "", nil, fmt.Errorf("lifeline: %w", err)
	}
	if !line.Guest().TakesID {
		s.Start.ID = ""
	}
	s.Start.Agent = s.Agent != nil && line.Guest().TakesAgent
	body, err := line.Ask(lifeline.Start, s.Start.Pack(), lifeline.Started, stdio.pass...)
	if err != nil {
		return "", nil, err
	}
	stdio.closePassed()
	started, err := lifeline.UnpackStarted(body)
	if err != nil {
		return "", nil, err
	}
	fd, err := s.takeDescriptors(line, stdio.tty, started)
	if err != nil {
		return "", nil, err
	}
	if err := line.SetDeadline(time.Time{}); err != nil {
		return "", nil, fmt.Errorf("lifeline: %w", err)
	}
	if !stdio.tty {
		return "", nil, nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return "", nil, fmt.Errorf("pty: %w", err)
	}
	return started.TTY, os.NewFile(uintptr(fd), "pty"), nil
}

// outcome is what the lifeline says in the end.
type outcome struct {
	ending lifeline.Ending
	err    error
}

// awaitEnd reads the one frame that ends a session, and the notices before it.
func awaitEnd(line *lifeline.Conn, notices *notices) <-chan outcome {
	result := make(chan outcome, 1)
	go func() {
		kind, body, err := line.Recv(lifeline.MaxReply)
		for ; err == nil && kind == lifeline.Notice; kind, body, err = line.Recv(lifeline.MaxReply) {
			notices.show(body)
		}
		switch {
		case errors.Is(err, io.EOF):
			result <- outcome{err: ErrLost}
		case err != nil:
			result <- outcome{err: fmt.Errorf("%w: %w", ErrLost, err)}
		case kind == lifeline.Failure:
			refusal, err := lifeline.UnpackRefusal(body)
			if err == nil {
				err = refusal
			}
			result <- outcome{err: err}
		case kind != lifeline.Exit:
			result <- outcome{err: fmt.Errorf("%w: frame %q", ErrLost, kind)}
		default:
			ending, err := lifeline.UnpackEnding(body)
			result <- outcome{ending, err}
		}
	}()
	return result
}
