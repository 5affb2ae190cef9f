// SPDX-License-Identifier: Apache-2.0

// berth is the administrator's command: it makes the container match
// /etc/berth/berth.toml, takes it away, and says how it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/helper/internal/admin/containers"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/hostfiles"
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

func command() *cobra.Command {
	var config string
	root := &cobra.Command{
		Use: "berth", Short: "berth lets users of this host work in a container", Version: versionLine(), SilenceUsage: true, SilenceErrors: true,
	}
	root.SetVersionTemplate("berth {{.Version}}\n")
	root.PersistentFlags().StringVar(&config, "config", policy.Path, "the configuration")
	root.AddCommand(upCommand(&config), downCommand(&config), statusCommand(&config),
		configCommand(&config), settleCommand(&config), checkCommand(&config), prepareCommand(&config), gcCommand(&config), explainCommand(&config),
		sshdConfigCommand(&config), sessionsCommand(&config), endCommand(&config), drainCommand(&config))
	root.SetOut(os.Stdout)
	return root
}

// verb is what a command does.
type verb func(ctx context.Context, cmd *cobra.Command, h containers.Host) error

// commandTimeout bounds everything that a verb asks of the engine and of sshd.
const commandTimeout = 2 * time.Minute

// runWith runs a verb with the configured containers and their engine.
func runWith(config *string, run verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		c, err := policy.Load(*config)
		if err != nil {
			return err
		}
		e, err := engine.Open(c.Base.Engine.Socket, nil)
		if err != nil {
			return err
		}
		defer e.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), commandTimeout)
		defer cancel()
		return run(ctx, cmd, containers.Host{Config: c, Dirs: host(*config), Engine: e, Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()})
	}
}

// host is where this host has what logins need.
func host(config string) hostfiles.Dirs { return hostfiles.This(filepath.Dir(config)) }

// hint is what an administrator may want to do about err.
func hint(err error) string {
	var problems *policy.Problems
	switch {
	case errors.Is(err, loginerror.ErrUnreachable):
		return "is the engine running, and is engine.socket right?"
	case errors.Is(err, loginerror.ErrNoImage):
		return "`make image` builds berth:latest; container.image names another"
	case errors.Is(err, containers.ErrDifferent):
		return "`berth up --recreate` makes it anew and ends the sessions in it"
	case errors.As(err, &problems):
		return "see berth.toml(5)"
	}
	return ""
}
