// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"berth/helper/internal/link/loginerror"

	"golang.org/x/sys/unix"
)

// Every message for a user that a login can end with on the host's side, and the
// status. What the container says is in helper/test and test/login.
func TestMessages(t *testing.T) {
	const tell, again = "; please tell the administrator", "; try again in a moment"
	for want, errs := range map[string][]error{
		"the container engine does not answer" + again: {loginerror.ErrUnreachable},
		"there is no container to log in to" + tell:    {loginerror.ErrNoContainer},
		"the container is not running" + again:         {loginerror.ErrNotRunning},
		"the container is paused" + again:              {loginerror.ErrPaused},
		"the container lacks berth's own program" + tell: {
			loginerror.ErrNoGuest},
		"the container does not serve sessions" + again: {
			loginerror.ErrNotServed, fmt.Errorf("%w: %w", loginerror.ErrNotServed, os.ErrDeadlineExceeded)},
		"the container does not answer" + again: {
			context.DeadlineExceeded, fmt.Errorf("read: %w", os.ErrDeadlineExceeded)},
		// The user cannot mend these, and the words of an error are not for them.
		"the session could not be started" + tell: {
			loginerror.ErrNoImage, loginerror.ErrNotSetgid, unix.EPERM, errors.New("secret: /etc/berth/berth.toml")},
	} {
		for _, err := range errs {
			for _, err := range []error{err, fmt.Errorf("exec: %w", err), errors.Join(err, errors.New("more"))} {
				if r := explain(err); r.User != want || r.Status != 255 || !errors.Is(r, err) {
					t.Errorf("%v: %d %q; it should be %q", err, r.Status, r.User, want)
				}
			}
		}
	}
}

// What a program could not be started for has the status that a shell gives it.
func TestStatusOfRefusal(t *testing.T) {
	for _, status := range []int{126, 127, 255} {
		err := fmt.Errorf("session: %w", &loginerror.Refusal{Status: status, User: "words", Cause: unix.ENOENT})
		if r := explain(err); r.Status != status || r.User != "words" {
			t.Errorf("%+v", r)
		}
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain, grün": "plain, grün", "two\nlines\r": "two?lines?", "\x1b[2Jgone": "?[2Jgone", "\u009b2J": "?2J", "a\x7fb\x00": "a?b?",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
