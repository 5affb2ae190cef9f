// SPDX-License-Identifier: Apache-2.0

// Package containers has the policy's container run as the policy has it, and says how
// it is and whether logins work.
//
// Process: berth. As: root.
package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/policy"
)

// Engine is what is asked of the container engine (package engine).
type Engine interface {
	Inspect(context.Context, policy.Policy) (engine.State, error)
	Create(context.Context, policy.Policy) error
	Start(ctx context.Context, name string) error
	Remove(ctx context.Context, name string) error
	Health(ctx context.Context, name string) (engine.Health, error)
	Probe(ctx context.Context, name string) error
}

// Keeper is what is asked of the container's first process (package control).
type Keeper interface {
	Count() (control.Count, error)
	Renew() error
	Settle(terminals int64) (notes []string, err error)
}

// Container is the policy's.
type Container struct {
	Policy policy.Policy
	Engine Engine
	Keeper Keeper
	Socket string // where it serves sessions
	Out    io.Writer
	Err    io.Writer // what the administrator should know although nothing failed
}

// ErrDifferent is a container that runs, but not as it is configured.
var ErrDifferent = errors.New("the container is not as berth.toml has it")

func (c Container) name() string { return c.Policy.Container.Name }

func (c Container) note(format string, args ...any) {
	fmt.Fprintf(c.Err, "berth: "+format+"\n", args...)
}

// Up has the container run, and returns when a session in it would succeed. One that
// differs from the policy is made anew with recreate alone; else Up names what differs
// and fails.
func (c Container) Up(ctx context.Context, recreate bool) error {
	state, err := c.Engine.Inspect(ctx, c.Policy)
	if err != nil {
		return err
	}
	if c.Policy.Transport != policy.Exec && !state.LiveRestore {
		c.note("the engine ends its containers when it stops; with \"live-restore\": true in its daemon.json the sessions outlive it")
	}
	for _, d := range state.Differences {
		fmt.Fprintf(c.Out, "%s: %s: is %q, should be %q\n", c.name(), d.Key, d.Have, d.Want)
	}
	if state.Exists && len(state.Differences) > 0 && recreate {
		if err := c.Engine.Remove(ctx, c.name()); err != nil {
			return err
		}
		state = engine.State{}
	}
	done := "runs"
	switch {
	case !state.Exists:
		err, done = c.Engine.Create(ctx, c.Policy), "is created and runs"
	case state.Status != "running":
		err, done = c.Engine.Start(ctx, c.name()), "was "+state.Status+" and runs"
	}
	if err != nil {
		return err
	}
	// One that is to be another container altogether is left alone.
	if !slices.ContainsFunc(state.Differences, func(d engine.Difference) bool { return d.Key == "command" }) {
		if err := c.renew(ctx, state.Exists); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.Out, "%s %s\n", c.name(), done)
	if len(state.Differences) > 0 {
		return ErrDifferent
	}
	return nil
}

// Down ends every session and removes the container.
func (c Container) Down(ctx context.Context) error {
	if err := c.Engine.Remove(ctx, c.name()); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "%s is gone\n", c.name())
	return nil
}

// Settle does what is due after each start of the container.
func (c Container) Settle() error {
	notes, err := c.Keeper.Settle(c.Policy.Container.Terminals)
	for _, note := range notes {
		c.note("%s", note)
	}
	return err
}

// renew has a container that runs go by the policy of now, and returns when a
// session in it would succeed. What it was started with, if it was there before, may
// be older than berth.toml, and than berth.
func (c Container) renew(ctx context.Context, existed bool) error {
	if err := c.awaitService(ctx); err != nil {
		return err
	}
	if existed {
		if err := c.Keeper.Renew(); err != nil {
			return fmt.Errorf("%s goes on with the rules and programs that it has: %w", c.name(), err)
		}
		if err := c.awaitService(ctx); err != nil {
			return err
		}
	}
	return c.Settle()
}

const (
	startTimeout = 20 * time.Second      // of a container that was started, until it serves
	pollInterval = 20 * time.Millisecond // between two looks at what has no event
)

// awaitService waits until a session would succeed in the container, or says why none
// will.
func (c Container) awaitService(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := c.checkService(ctx)
		if err == nil || errors.Is(err, control.ErrRemapped) {
			return err
		}
		health, herr := c.Engine.Health(ctx, c.name())
		if herr == nil && health.Restarts > 1 {
			return fmt.Errorf("%s ends as soon as it is started, %d times by now: %s", c.name(), health.Restarts, health.LastLog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is %s, and serves no sessions: %w: the last line of its log: %s", c.name(), health.Status, err, health.LastLog)
		}
	}
}

// checkService reports why a session would fail now.
func (c Container) checkService(ctx context.Context) error {
	count, err := c.Keeper.Count()
	if err != nil {
		return err
	}
	if c.Policy.Transport != policy.Direct {
		if err := c.Engine.Probe(ctx, c.name()); err != nil {
			return err
		}
	}
	switch {
	case c.Policy.Transport == policy.Exec:
		return nil
	case count.Server == 0:
		return errors.New("no server runs in it")
	case count.Spare == 0:
		return errors.New("no supervisor is ready in it")
	}
	return checkServer(c.Socket)
}

// serverTimeout is for the server's answer to one caller.
const serverTimeout = time.Second

// checkServer fails unless the server behind the socket that everybody connects to
// says anything. To root it says no.
func checkServer(socket string) error {
	line, err := lifeline.Dial(socket, serverTimeout)
	if err != nil {
		return err
	}
	defer line.Close()
	if err := line.SetDeadline(time.Now().Add(serverTimeout)); err != nil {
		return err
	}
	_, err = line.Ask(lifeline.Hello, nil, lifeline.Ready)
	if refused := (*lifeline.Refused)(nil); errors.As(err, &refused) {
		return nil
	}
	return err
}
