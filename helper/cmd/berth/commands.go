// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"berth/helper/internal/admin/containers"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/floor"
	"berth/helper/internal/admin/hostfiles"

	"github.com/spf13/cobra"
)

func upCommand(config *string) *cobra.Command {
	var recreate, dryRun bool
	cmd := &cobra.Command{Use: "up", Short: "make the container match the configuration, and run", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&recreate, "recreate", false, "make a container anew that differs; its sessions end")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the docker command that does the same, and do nothing")
	run := runWith(config, func(ctx context.Context, cmd *cobra.Command, c containers.Container, e *engine.Engine) error {
		if err := floor.Check(ctx, e); err != nil {
			return err
		}
		notes, err := host(*config).Prepare(c.Policy)
		for _, note := range notes {
			cmd.PrintErrf("berth: %s\n", note.Text)
		}
		if err != nil {
			return err
		}
		err = c.Up(ctx, recreate)
		report, checkErr := checkHost(ctx, cmd, *config, false)
		if group, err := hostfiles.EngineGroup(c.Policy.Engine.Socket); err == nil {
			printEngineMembers(cmd, report.Confined, group)
		}
		return errors.Join(err, checkErr)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !dryRun {
			return run(cmd, args)
		}
		p, err := load(*config)
		if err != nil {
			return err
		}
		cmd.Println(engine.RunCommand(p))
		return nil
	}
	return cmd
}

func downCommand(config *string) *cobra.Command {
	return &cobra.Command{Use: "down", Short: "end every session and remove the container", Args: cobra.NoArgs,
		RunE: runWith(config, func(ctx context.Context, _ *cobra.Command, c containers.Container, _ *engine.Engine) error {
			return c.Down(ctx)
		})}
}

func statusCommand(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "status", Args: cobra.NoArgs,
		Short: "say how the engine, the container and its sessions are; fail where logins do"}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.RunE = runWith(config, func(ctx context.Context, cmd *cobra.Command, c containers.Container, _ *engine.Engine) error {
		s, reason := c.Status(ctx, host(*config).CheckPrograms(c.Policy))
		if asJSON {
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetIndent("", "  ")
			if err := encoder.Encode(s); err != nil {
				return err
			}
		} else {
			s.Write(cmd.OutOrStdout(), c.Policy, *config)
		}
		if reason != nil {
			return fmt.Errorf("logins fail: %w", reason)
		}
		return nil
	})
	return cmd
}

// settleCommand is for the PAM module. It runs it when a container was started by the
// engine or by a login, and not by `berth up`.
func settleCommand(config *string) *cobra.Command {
	return &cobra.Command{Use: "settle", Short: "do what only root can for a container that has been started", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := load(*config)
			if err != nil {
				return err
			}
			return container(cmd, p, nil).Settle()
		}}
}
