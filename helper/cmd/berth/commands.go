// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"berth/helper/internal/admin/containers"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/floor"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/admin/sshdcheck"

	"github.com/spf13/cobra"
)

func upCommand(config *string) *cobra.Command {
	var up containers.UpOptions
	var dryRun bool
	cmd := &cobra.Command{Use: "up", Short: "make the shared containers match the configuration, and run", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&up.Recreate, "recreate", false, "make a container anew that differs; its sessions end")
	cmd.Flags().BoolVar(&up.IdleOnly, "idle-only", false, "with --recreate: leave a container alone that has sessions")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the docker commands that do the same, and do nothing")
	cmd.RunE = runWith(config, func(ctx context.Context, cmd *cobra.Command, h containers.Host) error {
		if dryRun {
			return h.Each(func(c containers.Container) error {
				cmd.Println(engine.RunCommand(c.Policy))
				return nil
			})
		}
		if err := floor.Check(ctx, h.Engine); err != nil {
			return err
		}
		notes, err := h.Dirs.Prepare(h.Config)
		for _, note := range notes {
			cmd.PrintErrf("berth: %s\n", note.Text)
		}
		if err != nil {
			return err
		}
		err = errors.Join(h.CheckUserProfiles(ctx), h.Each(func(c containers.Container) error { return c.Up(ctx, up) }))
		report, checkErr := checkHost(ctx, cmd, *config, sshdcheck.All)
		err = errors.Join(err, h.Dirs.MarkForwarding(h.Config, !report.NoForwards))
		if group, err := hostfiles.EngineGroup(h.Config.Base.Engine.Socket); err == nil {
			printEngineMembers(cmd, report.Confined, group)
		}
		return errors.Join(err, checkErr)
	})
	return cmd
}

func downCommand(config *string) *cobra.Command {
	return &cobra.Command{Use: "down", Short: "end every session and remove the containers", Args: cobra.NoArgs,
		RunE: runWith(config, func(ctx context.Context, _ *cobra.Command, h containers.Host) error {
			return errors.Join(h.Each(func(c containers.Container) error { return c.Down(ctx) }), h.DownUsers(ctx))
		})}
}

func statusCommand(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "status", Args: cobra.NoArgs,
		Short: "say how the engine, the containers and their sessions are; fail where logins do"}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.RunE = runWith(config, func(ctx context.Context, cmd *cobra.Command, h containers.Host) error {
		report, reason := h.Status(ctx, forwardNotes(ctx, *config))
		if asJSON {
			if err := printJSON(cmd, report); err != nil {
				return err
			}
		} else {
			report.Write(cmd.OutOrStdout(), *config, h.Config.Base.Engine.Socket)
		}
		if reason != nil {
			return fmt.Errorf("logins fail: %w", reason)
		}
		return nil
	})
	return cmd
}

func printJSON(cmd *cobra.Command, value any) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// settleCommand is for an administrator whose container was started by the engine, and whose users have not
// come back yet: their logins do it as well.
func settleCommand(config *string) *cobra.Command {
	return &cobra.Command{Use: "settle", Short: "do what only root can for containers that have been started", Args: cobra.NoArgs,
		RunE: runWith(config, func(_ context.Context, _ *cobra.Command, h containers.Host) error {
			return h.Each(containers.Container.Settle)
		})}
}

// prepareCommand is for the PAM module, which runs it when a session is opened.
func prepareCommand(config *string) *cobra.Command {
	cmd := &cobra.Command{Use: "prepare uid", Short: "do what only root can for a session that is about to begin", Args: cobra.ExactArgs(1)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		uid, err := strconv.ParseUint(args[0], 10, 32)
		if err != nil {
			return fmt.Errorf("a uid is needed: %w", err)
		}
		return runWith(config, func(ctx context.Context, _ *cobra.Command, h containers.Host) error {
			return h.Prepare(ctx, uint32(uid))
		})(cmd, nil)
	}
	return cmd
}

func gcCommand(config *string) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{Use: "gc", Args: cobra.NoArgs,
		Short: "remove users' containers that have ended, and what is left of users who are gone"}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed, and do nothing")
	cmd.RunE = runWith(config, func(ctx context.Context, cmd *cobra.Command, h containers.Host) error {
		found, err := h.Garbage(ctx, hostfiles.HasAccount, time.Now())
		for _, g := range found {
			cmd.Printf("%s: %s\n", g.What, g.Why)
			if !dryRun {
				err = errors.Join(err, g.Remove(ctx))
			}
		}
		return err
	})
	return cmd
}
