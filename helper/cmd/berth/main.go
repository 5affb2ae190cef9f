// SPDX-License-Identifier: Apache-2.0

// berth is the administrator's command: it makes the container match
// /etc/berth/berth.toml, takes it away, and says how it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"berth/helper/internal/admin/engine"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/policy"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func main() {
	unix.Umask(0o022) // what it makes has parents that everybody may pass
	if err := command().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "berth: %v\n", err)
		if h := hint(err); h != "" {
			fmt.Fprintf(os.Stderr, "berth: %s\n", h)
		}
		os.Exit(1)
	}
}

// patience bounds everything that is asked of the engine.
const patience = 2 * time.Minute

func command() *cobra.Command {
	var config string
	root := &cobra.Command{
		Use: "berth", Short: "berth lets users of this host work in a container", Version: versionLine(), SilenceUsage: true, SilenceErrors: true,
	}
	root.SetVersionTemplate("berth {{.Version}}\n")
	root.PersistentFlags().StringVar(&config, "config", policy.Path, "the configuration")
	// with gives a verb its policy, its engine and its time.
	with := func(run func(context.Context, *cobra.Command, policy.Policy, *engine.Engine) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			p, err := load(config)
			if err != nil {
				return err
			}
			e, err := engine.Open(p.Engine.Socket, nil)
			if err != nil {
				return err
			}
			defer e.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), patience)
			defer cancel()
			return run(ctx, cmd, p, e)
		}
	}
	up := upCommand(&config, with)
	down := &cobra.Command{Use: "down", Short: "end every session and remove the container", Args: cobra.NoArgs,
		RunE: with(func(ctx context.Context, cmd *cobra.Command, p policy.Policy, e *engine.Engine) error {
			if err := e.Remove(ctx, p.Container.Name); err != nil {
				return err
			}
			cmd.Printf("%s is gone\n", p.Container.Name)
			return nil
		})}
	root.AddCommand(up, down, statusCommand(&config, with), configCommand(&config), settleCommand(&config), checkCommand())
	root.SetOut(os.Stdout)
	return root
}

type runner func(func(context.Context, *cobra.Command, policy.Policy, *engine.Engine) error) func(*cobra.Command, []string) error

// hint is what an administrator may want to do about err.
func hint(err error) string {
	var problems *policy.Problems
	switch {
	case errors.Is(err, loginerror.ErrUnreachable):
		return "is the engine running, and is engine.socket right?"
	case errors.Is(err, loginerror.ErrNoImage):
		return "`make image` builds berth:latest; container.image names another"
	case errors.Is(err, errDiffers):
		return "`berth up --recreate` makes it anew and ends the sessions in it"
	case errors.As(err, &problems):
		return "see berth.toml(5)"
	}
	return ""
}
