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
	"berth/helper/internal/policy"
)

// Status is the state of one container and what logins to it need, as far as it is known:
// the engine may be away, and the container with it.
type Status struct {
	Profile   string `json:"profile"`
	Container string `json:"container"`
	Transport string `json:"transport"`
	Sessions  int    `json:"sessions"`
	engine.State
	EngineError string `json:"engine_error,omitempty"`
	Logins      bool   `json:"logins"` // work
	Why         string `json:"why,omitempty"`
}

const (
	statusTimeout = 10 * time.Second
	// renewTimeout is how long a server may be without a supervisor, or be replaced.
	renewTimeout = 2 * time.Second
)

// Status finds out the state.
func (c Container) Status(ctx context.Context) Status {
	s := Status{Profile: c.Policy.Profile, Container: c.name(), Transport: c.Policy.Transport}
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
	if s.Logins = reason == nil; !s.Logins {
		s.Why = reason.Error()
	}
	return s
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

// Write prints the status for a person.
func (s Status) Write(w io.Writer) {
	state := ", " + s.Status
	switch {
	case s.EngineError != "":
		state = "; the engine does not say how it is"
	case !s.Exists:
		state = ", missing"
	}
	logins := "work"
	if !s.Logins {
		logins = "fail: " + s.Why
	}
	fmt.Fprintf(w, "profile     %s\ncontainer   %s%s\ntransport   %s\nsessions    %d\nlogins      %s\n",
		s.Profile, s.Container, state, s.Transport, s.Sessions, logins)
	for _, d := range s.Differences {
		fmt.Fprintf(w, "differs     %s: is %q, should be %q\n", d.Key, d.Have, d.Want)
	}
}
