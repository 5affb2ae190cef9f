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

// unanswered is how long a container that takes connections may say nothing
// until it counts as one that serves none: it is paused.
const unanswered = 2 * time.Second

// again is the pause before a next try.
const again = 10 * time.Millisecond

// ErrImpostor is a socket that does not belong to container root.
var ErrImpostor = errors.New("the socket is served by somebody else")

// Begun is a first try, begun before it was known whether it will be wanted.
type Begun chan tried

type tried struct {
	line *lifeline.Conn
	err  error
}

// Begin connects to the socket at path and says hello, while the caller finds out
// who the user is and what is asked for: the server needs neither to choose a
// guest, which needs neither to become the user.
func Begin(path string) Begun {
	begun := make(Begun, 1)
	go func() {
		line, err := try(path, time.Now().Add(unanswered))
		begun <- tried{line, err}
	}()
	return begun
}

// Transport waits for what was begun with the socket at path. With alone it
// keeps trying for as long as patience; else it fails with loginerror.ErrNotServed as
// soon as it is plain that nobody serves.
func Transport(begun Begun, path string, patience time.Duration, alone bool) func(context.Context, []byte) (*lifeline.Conn, error) {
	return func(_ context.Context, identity []byte) (*lifeline.Conn, error) {
		bound := patience
		if !alone {
			bound = min(bound, unanswered)
		}
		deadline := time.Now().Add(bound)
		for first := <-begun; ; first.line, first.err = try(path, deadline) {
			line, err := first.line, first.err
			if err == nil {
				if err = line.Send(lifeline.Identity, identity); err == nil {
					return line, nil
				}
				line.Close()
			}
			left := time.Until(deadline) > again
			late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.EAGAIN)
			switch {
			case nobody(err) && alone && left, broken(err) && left, late && alone && left:
				time.Sleep(again)
			case nobody(err), broken(err), late:
				return nil, fmt.Errorf("%w: %w", loginerror.ErrNotServed, err)
			default:
				return nil, err
			}
		}
	}
}

// nobody reports whether err says that no one listens.
func nobody(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTDIR)
}

// broken reports whether err is of a connection that ended before its server had
// said a word: a server that is being replaced. The next takes over.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

func try(path string, deadline time.Time) (*lifeline.Conn, error) {
	line, err := lifeline.Dial(path, max(time.Until(deadline), again))
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
		_, err = line.Ask(lifeline.Hello, nil, lifeline.Ready)
	}
	if err != nil {
		line.Close()
		return nil, err
	}
	return line, nil
}
