// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"berth/helper/internal/host/identity"
	"berth/helper/internal/host/request"
	"berth/helper/internal/host/session"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/sessionlog"
	"berth/helper/internal/policy"
)

// exitFailure is the status of everything that berth itself refuses or cannot
// do. ssh(1) uses it for its own failures too.
const exitFailure = 255

// denied is a refusal whose words are meant for the user.
type denied struct{ error }

func (d *denied) Unwrap() error { return d.error }

// report writes the session's end, tells the user in one line what kept it from
// happening, under the same id, and returns the exit status.
func report(user io.Writer, record *sessionlog.Record, ending lifeline.Ending, traffic session.Traffic, err error) int {
	end := sessionlog.End{Reason: sessionlog.Exit, Status: ending.Status, Signal: ending.Signal, TTY: traffic.TTY, In: traffic.In, Out: traffic.Out}
	switch {
	case errors.Is(err, session.ErrHungUp):
		end.Reason = sessionlog.Hangup
		record.Ended(end)
		return exitFailure
	case err == nil:
		if ending.Signal != 0 {
			end.Reason = sessionlog.Signal
		}
		record.Ended(end)
		return ending.Status
	}
	status, text := explain(err)
	if isRefusal(err) {
		record.Refused(status, err.Error())
	} else {
		record.Failed(status, err.Error())
	}
	fmt.Fprintf(user, "berth: %s (id %s)\n", oneLine(text), record.ID)
	return status
}

// isRefusal reports whether err says that berth does not want this session. All
// else is a session that berth wanted and could not have.
func isRefusal(err error) bool {
	var no *denied
	var refused *lifeline.Refused
	return errors.As(err, &no) || errors.As(err, &refused) && refused.Status == exitFailure
}

// explain returns the exit status and the user's words for err. What it does
// not know is the admin's business: the log has it.
func explain(err error) (int, string) {
	const retry = "; try again in a moment"
	var no *denied
	var refused *lifeline.Refused
	var problems *policy.Problems
	switch {
	case errors.As(err, &no):
		if errors.Is(err, request.ErrSomeoneElse) || errors.Is(err, request.ErrUsage) {
			return exitFailure, "this login was refused: " + firstOf(err, request.ErrSomeoneElse, request.ErrUsage)
		}
		return exitFailure, no.Error()
	case errors.As(err, &refused):
		return refused.Status, refused.User
	case errors.Is(err, identity.ErrUnknown) && errors.Is(err, syscall.EAGAIN):
		return exitFailure, "this host has no further process for your session: see nproc in limits.conf(5); please tell the administrator"
	case errors.Is(err, identity.ErrUnknown):
		return exitFailure, "your account is not known on this host"
	case errors.As(err, &problems):
		return exitFailure, "this gateway is misconfigured; nobody can log in until its administrator has mended it"
	case errors.Is(err, loginerror.ErrNoContainer):
		return exitFailure, "there is no container to log in to; please tell the administrator"
	case errors.Is(err, loginerror.ErrPaused):
		return exitFailure, "the container is paused" + retry
	case errors.Is(err, loginerror.ErrNotRunning):
		return exitFailure, "the container is not running" + retry
	case errors.Is(err, loginerror.ErrNoGuest):
		return exitFailure, "the container lacks berth's own program; please tell the administrator"
	case errors.Is(err, loginerror.ErrUnreachable):
		return exitFailure, "the container engine does not answer" + retry
	case errors.Is(err, loginerror.ErrNotServed):
		return exitFailure, "the container does not serve sessions" + retry
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return exitFailure, "the container does not answer" + retry
	case errors.Is(err, session.ErrLost):
		return exitFailure, "the session was lost: the container or its supervisor ended"
	}
	return exitFailure, "the session could not be started; please tell the administrator"
}

func firstOf(err error, candidates ...error) string {
	for _, c := range candidates {
		if errors.Is(err, c) {
			return c.Error()
		}
	}
	return err.Error()
}

// oneLine makes text safe to show: it may hold what the container said.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u009b' {
			return '?'
		}
		return r
	}, text)
}
