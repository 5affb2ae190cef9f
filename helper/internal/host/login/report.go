// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"berth/helper/internal/host/session"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
)

// report tells the user in one line and the log in full, both under one id,
// and returns the exit status.
func report(user io.Writer, log *slog.Logger, id string, ending lifeline.Ending, err error) int {
	if err == nil {
		return ending.Status
	}
	if errors.Is(err, session.ErrHungUp) {
		log.Info("client gone")
		return loginerror.ExitFailure
	}
	log.Error("session failed", "uid", os.Getuid(), "error", err.Error())
	r := explain(err)
	fmt.Fprintf(user, "berth: %s (id %s)\n", oneLine(r.User), id)
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
