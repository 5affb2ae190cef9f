// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"berth/helper/internal/admin/containers"
	"berth/helper/internal/admin/sessions"

	"github.com/spf13/cobra"
)

// watchInterval is the pause between two looks of `berth sessions --watch`.
const watchInterval = 2 * time.Second

// clearScreen moves the cursor of a terminal home, and erases all below it (ECMA-48).
const clearScreen = "\x1b[H\x1b[J"

func sessionsCommand(config *string) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{Use: "sessions", Short: "list the open sessions", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "again and again, until interrupted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for {
			err := runWith(config, func(_ context.Context, cmd *cobra.Command, h containers.Host) error {
				all, err := h.Sessions()
				switch {
				case asJSON:
					return errors.Join(printJSON(cmd, all), err)
				case watch:
					cmd.Print(clearScreen)
				}
				sessions.Write(cmd.OutOrStdout(), all)
				return err
			})(cmd, args)
			if err != nil || !watch {
				return err
			}
			time.Sleep(watchInterval)
		}
	}
	return cmd
}

func endCommand(config *string) *cobra.Command {
	var message string
	cmd := &cobra.Command{Use: "end {id | user}...", Short: "end sessions, by their ids or their users", Args: cobra.MinimumNArgs(1)}
	cmd.Flags().StringVar(&message, "message", "", "what the users read last")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runWith(config, func(_ context.Context, cmd *cobra.Command, h containers.Host) error {
			all, err := h.Sessions()
			for _, what := range args {
				found := false
				for _, s := range all {
					if !s.Matches(what) {
						continue
					}
					found = true
					if eerr := s.End(message); eerr != nil {
						err = errors.Join(err, fmt.Errorf("session %s of %s: %w", s.ID, s.User, eerr))
						continue
					}
					cmd.Printf("session %s of %s is being ended\n", cmp.Or(s.ID, "without an id"), s.User)
				}
				if !found {
					err = errors.Join(err, fmt.Errorf("%s is no open session, and no user who has one; `berth sessions` lists them", what))
				}
			}
			return err
		})(cmd, nil)
	}
	return cmd
}

func drainCommand(config *string) *cobra.Command {
	var message string
	cmd := &cobra.Command{Use: "drain {on | off}", Short: "let no confined user open a session, or let them again", Args: cobra.ExactArgs(1),
		ValidArgs: []string{"on", "off"}}
	cmd.Flags().StringVar(&message, "message", "", "what users read, those who are inside and those who come")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := cobra.OnlyValidArgs(cmd, args); err != nil {
			return err
		}
		if args[0] == "off" && message != "" {
			return errors.New("--message goes with `berth drain on`")
		}
		return runWith(config, func(_ context.Context, cmd *cobra.Command, h containers.Host) error {
			if err := h.Drain(args[0] == "on", message); err != nil {
				return err
			}
			if args[0] == "off" {
				cmd.Println("sessions can begin again")
				return nil
			}
			all, err := h.Sessions()
			cmd.Printf("no session begins any more; %s open\n", containers.Sessions(len(all)))
			return err
		})(cmd, nil)
	}
	return cmd
}
