// SPDX-License-Identifier: Apache-2.0

package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/policy"
)

// Status is the state of everything that logins need, as far as it is known: the engine may
// be away, and the container with it. It is the JSON of `berth status`.
type Status struct {
	Container string `json:"container"`
	Transport string `json:"transport"`
	Sessions  int    `json:"sessions"`
	engine.State
	EngineError string   `json:"engine_error,omitempty"`
	Logins      bool     `json:"logins"` // work
	Why         string   `json:"why,omitempty"`
	Notes       []string `json:"notes,omitempty"`
}

const (
	statusTimeout = 10 * time.Second
	// renewTimeout is how long a server may be without a supervisor, or be replaced.
	renewTimeout = 2 * time.Second
)

// Status finds out the state; notes are the host's. Its error is why a login would fail.
func (c Container) Status(ctx context.Context, notes []hostfiles.Note) (Status, error) {
	s := Status{Container: c.name(), Transport: c.Policy.Transport}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	state, err := c.Engine.Inspect(ctx, c.Policy)
	s.State = state
	if err != nil {
		s.EngineError = err.Error()
	}
	count, reason := c.Keeper.Count()
	s.Sessions = count.Sessions
	if reason == nil {
		s.Differences = append(s.Differences, c.changedMounts(ctx, count.PID)...)
	}
	switch {
	case err == nil && !s.Exists:
		reason = errors.New("there is no container")
	case err == nil && s.Status != "running":
		reason = fmt.Errorf("the container is %s", s.Status)
	case reason == nil:
		reason = c.checkLogins(ctx)
	}
	for _, note := range notes {
		s.Notes = append(s.Notes, note.Text)
		if note.Fatal && reason == nil {
			reason = errors.New(note.Text)
		}
	}
	if s.Logins = reason == nil; !s.Logins {
		s.Why = reason.Error()
	}
	return s, reason
}

// checkLogins fails if a login would fail in the container. With auto, as with direct, a
// login needs no engine.
func (c Container) checkLogins(ctx context.Context) error {
	if c.Policy.Transport == policy.Auto {
		c.Policy.Transport = policy.Direct
	}
	for end := time.Now().Add(renewTimeout); ; time.Sleep(pollInterval) {
		err := c.checkService(ctx)
		if err == nil || errors.Is(err, control.ErrNoKeeper) || errors.Is(err, control.ErrRemapped) || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
	}
}

// Write prints the status for a person; config is where the policy was read.
func (s Status) Write(w io.Writer, p policy.Policy, config string) {
	state := s.Status
	switch {
	case s.EngineError != "":
		fmt.Fprintf(w, "engine      %s at %s\n", s.EngineError, p.Engine.Socket)
		state = "of which the engine would know more"
	default:
		fmt.Fprintf(w, "engine      %s at %s, live-restore %t\n", s.Engine, p.Engine.Socket, s.LiveRestore)
		if !s.Exists {
			state = "missing"
		}
	}
	logins := "work"
	if !s.Logins {
		logins = "fail: " + s.Why
	}
	fmt.Fprintf(w, "container   %s, %s\ntransport   %s\nsessions    %d\nlogins      %s\nconfigured  in %s\n",
		s.Container, state, s.Transport, s.Sessions, logins, config)
	for _, d := range s.Differences {
		fmt.Fprintf(w, "differs     %s: is %q, should be %q\n", d.Key, d.Have, d.Want)
	}
	for _, note := range s.Notes {
		fmt.Fprintf(w, "note        %s\n", note)
	}
}
