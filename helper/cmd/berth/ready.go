// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/policy"

	"github.com/spf13/cobra"
)

// startup is how long a container that was started may take until it serves.
const startup = 20 * time.Second

// keeper is the first process of the container that shares this host's directory.
func keeper() control.Keeper { return control.At(policy.ServeDir) }

// ready waits until a session would succeed in the container, or says why none
// will.
func ready(ctx context.Context, p policy.Policy, e *engine.Engine) error {
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := serves(ctx, p, e)
		if err == nil || errors.Is(err, control.ErrRemapped) {
			return err
		}
		health, herr := e.Health(ctx, p.Container.Name)
		if herr == nil && health.Restarts > 1 {
			return fmt.Errorf("%s ends as soon as it is started, %d times by now: %s", p.Container.Name, health.Restarts, health.Words)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is %s, and serves no sessions: %w: the last line of its log: %s", p.Container.Name, health.Status, err, health.Words)
		}
	}
}

// serves reports why a session would fail now.
func serves(ctx context.Context, p policy.Policy, e *engine.Engine) error {
	c, err := keeper().Count()
	if err != nil {
		return err
	}
	if p.Transport != policy.Direct {
		if err := e.Probe(ctx, p.Container.Name); err != nil {
			return err
		}
	}
	switch {
	case p.Transport == policy.Exec:
		return nil
	case c.Server == 0:
		return errors.New("no server runs in it")
	case c.Spare == 0:
		return errors.New("no supervisor is ready in it")
	}
	return answers()
}

// answers is whether the server behind the socket that everybody connects to says
// anything. To root it says no.
func answers() error {
	line, err := lifeline.Dial(policy.ServeSocket, time.Second)
	if err != nil {
		return err
	}
	defer line.Close()
	if err := line.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = line.Ask(lifeline.Hello, nil, lifeline.Ready)
	if refused := (*loginerror.Refusal)(nil); errors.As(err, &refused) {
		return nil
	}
	return err
}

// settle does what is due after each start of the container.
func settle(cmd *cobra.Command, p policy.Policy) error {
	notes, err := keeper().Settle(p.Container.Terminals)
	for _, note := range notes {
		cmd.PrintErrf("berth: %s\n", note)
	}
	return err
}

// settleCommand is what the PAM module has done when a container was started by
// somebody else than `berth up`: the engine, or a login.
func settleCommand(config *string) *cobra.Command {
	return &cobra.Command{Use: "settle", Short: "do what only root can for a container that has been started", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := load(*config)
			if err != nil {
				return err
			}
			return settle(cmd, p)
		}}
}
