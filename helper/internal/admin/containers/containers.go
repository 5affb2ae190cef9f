// SPDX-License-Identifier: Apache-2.0

// Package containers makes and runs the policy's container, and says in what state it is
// and whether logins work.
//
// Process: berth. As: root.
package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/admin/mounts"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/rootfile"
	"berth/helper/internal/policy"
)

// Engine is what is asked of the container engine (package engine).
type Engine interface {
	Inspect(context.Context, policy.Policy) (engine.State, error)
	EnsureImage(context.Context, policy.Policy) error
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
	Settle(ptyMax int64) (notes []string, err error)
}

// Container is the policy's.
type Container struct {
	Policy policy.Policy
	Engine Engine
	Keeper Keeper
	Socket string // where it serves sessions
	Out    io.Writer
	Err    io.Writer // notes for the administrator
}

// ErrDifferent says that the container runs, but not as it is configured.
var ErrDifferent = errors.New("the container differs from berth.toml or from what the host has mounted")

func (c Container) name() string { return c.Policy.Container.Name }

func (c Container) note(format string, args ...any) {
	fmt.Fprintf(c.Err, "berth: "+format+"\n", args...)
}

// UpOptions are those of `berth up`.
type UpOptions struct {
	Recreate bool // a container that differs
	IdleOnly bool // but none that has sessions
}

// Up makes and starts the container, and returns when a session in it would succeed. If it
// differs from the policy, Up says how; with Recreate it makes the container anew, and
// without it fails.
func (c Container) Up(ctx context.Context, options UpOptions) error {
	state, err := c.Engine.Inspect(ctx, c.Policy)
	if err != nil {
		return err
	}
	if c.Policy.Transport != policy.Exec && !state.LiveRestore {
		c.note("the engine ends its containers when it stops; with \"live-restore\": true in its daemon.json the sessions outlive it")
	}
	if state.Status == "running" {
		if count, err := c.Keeper.Count(); err == nil {
			state.Differences = append(state.Differences, c.changedMounts(ctx, count.PID)...)
		}
	}
	for _, d := range state.Differences {
		fmt.Fprintf(c.Out, "%s: %s: is %q, should be %q\n", c.name(), d.Key, d.Have, d.Want)
	}
	recreate := options.Recreate && state.Exists && len(state.Differences) > 0
	if recreate || !state.Exists {
		// First of all: without an image the old container stays.
		if err := c.Engine.EnsureImage(ctx, c.Policy); err != nil {
			return err
		}
	}
	if recreate && options.IdleOnly {
		// Until the new one runs a login waits for the lease, so none gets into the old one.
		why, release := c.inUse(state)
		defer release()
		if why != "" {
			c.note("%s %s and stays as it is", c.name(), why)
			recreate = false
		}
	}
	if recreate {
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
	// With another command it is no container of berth's, or of the other transport.
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

// inUse says why the container, which is in that state, may not be removed now, or nothing. Until release is
// called nobody can connect to it.
func (c Container) inUse(state engine.State) (why string, release func()) {
	connected, release := hostfiles.InUse(filepath.Dir(c.Socket))
	count, err := c.Keeper.Count()
	switch {
	case err == nil && count.Sessions > 0:
		return "has " + Sessions(count.Sessions), release
	case connected:
		return "has a client that is connected", release
	case err != nil && isAlive(state.Status):
		return "does not say who is in it", release
	}
	return "", release
}

// mountsTimeout is for a look at all mounts. A file server that is silent could hold it up.
const mountsTimeout = 2 * time.Second

// changedMounts returns the mounts that lead elsewhere on the host than in the running
// container whose first process is pid.
func (c Container) changedMounts(ctx context.Context, pid int) (all []engine.Difference) {
	type result struct {
		changes []mounts.Change
		err     error
	}
	done := make(chan result, 1)
	go func() {
		changes, err := mounts.Changes(pid, c.Policy.Container)
		done <- result{changes, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, mountsTimeout)
	defer cancel()
	select {
	case r := <-done:
		for _, change := range r.changes {
			all = append(all, engine.Difference{Key: "mount " + change.Source, Have: change.Have, Want: change.Want})
		}
		if r.err != nil {
			c.note("whether the mounts still lead where they did is unknown: %v", r.err)
		}
	case <-ctx.Done():
		c.note("whether the mounts still lead where they did is unknown: a file system does not answer")
	}
	return all
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
	notes, err := c.Keeper.Settle(c.Policy.Container.PTYMax)
	for _, note := range notes {
		c.note("%s", note)
	}
	return err
}

// renew returns when a session in the running container would succeed. If the container
// existed before, its programs and rules may be older than berth and berth.toml, and are
// replaced.
func (c Container) renew(ctx context.Context, existed bool) error {
	if err := c.awaitService(ctx); err != nil {
		return err
	}
	if existed {
		if err := c.Keeper.Renew(); err != nil {
			return fmt.Errorf("%s keeps its old rules and programs: %w", c.name(), err)
		}
		if err := c.awaitService(ctx); err != nil {
			return err
		}
	}
	return c.Settle()
}

const (
	startTimeout = 20 * time.Second      // from a container's start until it serves
	pollInterval = 20 * time.Millisecond // between two looks at something without an event
)

// awaitService waits until a session would succeed in the container. Its error is why none
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
			return fmt.Errorf("%s ends right after each start, %d times so far: %s", c.name(), health.Restarts, cmp.Or(health.LastLog, "it has logged nothing"))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is %s, and serves no sessions: %w: the last line of its log: %s", c.name(), health.Status, err, health.LastLog)
		}
	}
}

// checkService fails if a session would fail now.
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
	case count.OnDemand:
		// The question below has a server started.
	case count.Server == 0:
		return errors.New("no server runs in it")
	case count.Spare == 0 && c.Policy.Mode == policy.Shared:
		return errors.New("no supervisor is ready in it")
	}
	return checkServer(c.Socket)
}

// serverTimeout is for the server's answer to one caller.
const serverTimeout = time.Second

// checkServer fails unless the server answers on the socket. A refusal is an answer: it
// refuses root.
func checkServer(socket string) error {
	pinned, release, err := rootfile.Pin(socket)
	if err != nil {
		return err
	}
	defer release()
	line, err := lifeline.Dial(pinned, serverTimeout)
	if err != nil {
		return fmt.Errorf("%s: %w", socket, err)
	}
	defer line.Close()
	if err := line.SetDeadline(time.Now().Add(serverTimeout)); err != nil {
		return err
	}
	_, err = line.Ask(lifeline.Hello, nil, lifeline.Ready)
	if refused := (*loginerror.Refusal)(nil); errors.As(err, &refused) {
		return nil
	}
	return err
}
