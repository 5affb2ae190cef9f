// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"berth/helper/internal/host/session"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/sessionlog"
)

// report writes the session's end, tells the user in one line what kept it from
// happening, under the same id, and returns the exit status.
func report(user io.Writer, record *sessionlog.Record, ending lifeline.Ending, traffic session.Traffic, err error) int {
	end := sessionlog.End{Reason: sessionlog.Exit, Status: ending.Status, Signal: ending.Signal, TTY: traffic.TTY, In: traffic.In, Out: traffic.Out}
	switch {
	case errors.Is(err, session.ErrHungUp):
		end.Reason = sessionlog.Hangup
		record.Ended(end)
		return loginerror.ExitFailure
	case err == nil:
		if ending.Signal != 0 {
			end.Reason = sessionlog.Signal
		}
		record.Ended(end)
		return ending.Status
	}
	r := explain(err)
	switch {
	case r.Wanted:
		end.Reason = sessionlog.Administrator
		record.Ended(end)
	case r.Denied:
		record.Refused(r.Status, err.Error())
	default:
		record.Failed(r.Status, err.Error())
	}
	if traffic.TTY {
		fmt.Fprintln(user) // the program may have left the line unfinished
	}
	fmt.Fprintf(user, "berth: %s (id %s)\n", oneLine(r.User), record.ID)
	return r.Status
}

// explain returns err with the words for the user. What nobody has words for is the
// administrator's business: the log has it.
func explain(err error) *loginerror.Refusal {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return loginerror.Of(err, loginerror.NoAnswer)
	}
	return loginerror.Of(err, loginerror.NotStarted)
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
