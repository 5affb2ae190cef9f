// SPDX-License-Identifier: Apache-2.0

// Package direct is the transport that connects to the socket which the
// container serves. It needs no right: the kernel tells the other end who calls.
//
// Process: berth-session. As: the user, who has no other right either.
package direct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"

	"golang.org/x/sys/unix"
)

// answerTimeout is how long a container that takes connections may say nothing
// until it counts as one that serves none: it is paused.
const answerTimeout = 2 * time.Second

// retryInterval is the pause before a next try.
const retryInterval = 10 * time.Millisecond

// ErrImpostor is a socket that does not belong to container root.
var ErrImpostor = errors.New("the socket is served by somebody else")

// Attempt is a connection that is being made, or has failed.
type Attempt chan result

type result struct {
	line *lifeline.Conn
	err  error
}

// Dial connects to the socket at path and says hello, while the caller finds out
// who the user is and what is asked for: the server needs neither to choose a
// guest, which needs neither to become the user.
func Dial(path string) Attempt {
	attempt := make(Attempt, 1)
	go func() {
		line, err := dial(path, time.Now().Add(answerTimeout))
		attempt <- result{line, err}
	}()
	return attempt
}

// Transport waits for the first attempt at the socket at path, and tries again where
// that helps: for as long as patience if there is no other transport. Else it fails
// with loginerror.ErrNotServed as soon as it is plain that nobody serves.
func Transport(first Attempt, path string, patience time.Duration, noOther bool) func(context.Context, []byte) (*lifeline.Conn, error) {
	return func(_ context.Context, identity []byte) (*lifeline.Conn, error) {
		bound := patience
		if !noOther {
			bound = min(bound, answerTimeout)
		}
		deadline := time.Now().Add(bound)
		for got := <-first; ; got.line, got.err = dial(path, deadline) {
			line, err := got.line, got.err
			if err == nil {
				if err = line.Send(lifeline.Identity, identity); err == nil {
					return line, nil
				}
				line.Close()
			}
			left := time.Until(deadline) > retryInterval
			late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.EAGAIN)
			switch {
			case nobodyListens(err) && noOther && left, serverEnded(err) && left, late && noOther && left:
				time.Sleep(retryInterval)
			case nobodyListens(err), serverEnded(err), late:
				return nil, fmt.Errorf("%w: %w", loginerror.ErrNotServed, err)
			default:
				return nil, err
			}
		}
	}
}

func nobodyListens(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTDIR)
}

// serverEnded reports whether err is of a connection that ended before its server
// had said a word: one that is being replaced. The next takes over.
func serverEnded(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

func dial(path string, deadline time.Time) (*lifeline.Conn, error) {
	line, err := lifeline.Dial(path, max(time.Until(deadline), retryInterval))
	if err != nil {
		return nil, err
	}
	// Who listens, not who accepts (unix(7)); only root can put a socket there.
	peer, err := line.Peer()
	if err == nil && peer.UID != 0 {
		err = fmt.Errorf("%s: uid %d: %w", path, peer.UID, ErrImpostor)
	}
	if err == nil {
		err = line.SetDeadline(deadline)
	}
	if err == nil {
		err = line.AskReady(lifeline.Hello, nil)
	}
	if err != nil {
		line.Close()
		return nil, err
	}
	return line, nil
}
