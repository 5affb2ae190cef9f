// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"berth/helper/internal/admin/engine"
	"berth/helper/internal/policy"

	"github.com/spf13/cobra"
)

// errDiffers is a container that runs, but not as it is configured.
var errDiffers = errors.New("the container is not as berth.toml has it")

func upCommand(config *string, with runner) *cobra.Command {
	var recreate, dryRun bool
	cmd := &cobra.Command{Use: "up", Short: "make the container match the configuration, and run", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&recreate, "recreate", false, "make a container anew that differs; its sessions end")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the docker command that does the same, and do nothing")
	run := with(func(ctx context.Context, cmd *cobra.Command, p policy.Policy, e *engine.Engine) error {
		if err := tooOld(ctx, e); err != nil {
			return err
		}
		notes, err := prepare(p, filepath.Dir(*config))
		for _, note := range notes {
			cmd.PrintErrf("berth: %s\n", note.text)
		}
		if err != nil {
			return err
		}
		err = up(ctx, cmd, p, e, recreate)
		report, open := checkHost(ctx, cmd, false)
		tooStrong(cmd, p.Engine.Socket, report.Confined)
		return errors.Join(err, open)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !dryRun {
			return run(cmd, args)
		}
		p, err := load(*config)
		if err != nil {
			return err
		}
		cmd.Println(quoted(engine.RunCommand(p)))
		return nil
	}
	return cmd
}

func up(ctx context.Context, cmd *cobra.Command, p policy.Policy, e *engine.Engine, recreate bool) error {
	c := p.Container
	state, err := e.Inspect(ctx, p)
	if err != nil {
		return err
	}
	if p.Transport != policy.Exec && !state.LiveRestore {
		cmd.PrintErrf("berth: the engine ends its containers when it stops; with \"live-restore\": true in its daemon.json the sessions outlive it\n")
	}
	for _, d := range state.Differences {
		cmd.Printf("%s: %s: is %q, should be %q\n", c.Name, d.Key, d.Have, d.Want)
	}
	if state.Exists && len(state.Differences) > 0 && recreate {
		if err := e.Remove(ctx, c.Name); err != nil {
			return err
		}
		state = engine.State{}
	}
	said := "runs"
	switch {
	case !state.Exists:
		if err := e.Create(ctx, p); err != nil {
			return err
		}
		said = "is created and runs"
	case state.Status != "running":
		if err := e.Start(ctx, c.Name); err != nil {
			return err
		}
		said = "was " + state.Status + " and runs"
	}
	// One that is to be another container altogether is left alone.
	if !slices.ContainsFunc(state.Differences, func(d engine.Difference) bool { return d.Key == "command" }) {
		if err := renew(ctx, cmd, p, e, state.Exists); err != nil {
			return err
		}
	}
	cmd.Printf("%s %s\n", c.Name, said)
	if len(state.Differences) > 0 {
		return errDiffers
	}
	return nil
}

// renew has a container that runs go by the policy of now, and returns when a
// session in it would succeed. What it was started with, if it was there before, may
// be older than berth.toml, and than berth.
func renew(ctx context.Context, cmd *cobra.Command, p policy.Policy, e *engine.Engine, old bool) error {
	if err := ready(ctx, p, e); err != nil {
		return err
	}
	if old {
		if err := keeper().Renew(); err != nil {
			return fmt.Errorf("%s goes on with the rules and programs that it has: %w", p.Container.Name, err)
		}
		if err := ready(ctx, p, e); err != nil {
			return err
		}
	}
	return settle(cmd, p)
}

// quoted joins argv so that a shell reads it back as it is.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%") != "" {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		words[i] = word
	}
	return strings.Join(words, " ")
}
