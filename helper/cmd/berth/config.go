// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/helper/internal/admin/containers"
	"berth/helper/internal/admin/explain"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/admin/sshdcheck"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/record"
	"berth/helper/internal/link/rootfile"
	"berth/helper/internal/policy"

	"github.com/spf13/cobra"
)

// configCommand says what berth.toml means. Scripts ask it: no second reader of
// the file exists that could understand it differently.
func configCommand(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "config [key]", Short: "print the configuration as it counts, defaults included", Args: cobra.MaximumNArgs(1)}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		settings, err := policy.Show(*config)
		if err != nil {
			return err
		}
		var value any = policy.Tree(settings)
		if len(args) == 1 {
			found := false
			for _, s := range settings {
				if s.Key() == args[0] {
					value, found = s.Value, true
				}
			}
			if !found {
				return fmt.Errorf("berth.toml has no key %s; `berth config` lists the keys", args[0])
			}
		}
		switch {
		case asJSON:
			return printJSON(cmd, value)
		case len(args) == 0:
			cmd.Print(policy.TOML(settings))
		default:
			cmd.Println(policy.Plain(value))
		}
		return nil
	}
	return cmd
}

// explainCommand says what berth.toml means for one user.
func explainCommand(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "explain user", Short: "say what will happen at a user's next login, and which line says so", Args: cobra.ExactArgs(1)}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runWith(config, func(ctx context.Context, cmd *cobra.Command, h containers.Host) error {
			settings, err := policy.Show(*config)
			if err != nil {
				return err
			}
			file, err := rootfile.Read(*config)
			if err != nil {
				return err
			}
			known, uid, err := hostfiles.LookUp(args[0])
			if err != nil {
				return err
			}
			if last, err := record.Read(h.Dirs.Names, uid); err == nil {
				known.Shell = last.Shell
			}
			p, refused := h.PolicyOf(known, uid)
			e, err := explain.Explain(p, known, settings, *config, file)
			if err != nil {
				return err
			}
			e.UID = uid
			if refused == nil {
				refused = h.CheckUser(p, known, uid)
			}
			if r := (*loginerror.Refusal)(nil); errors.As(refused, &r) {
				e.Refused = r.User
			} else if refused != nil {
				e.Refused = refused.Error()
			}
			confined, err := sshdcheck.This(h.Dirs.Session()).ConfinedUsers(ctx)
			if err != nil {
				return err
			}
			if !slices.Contains(confined, known.User) {
				e.Host = "sshd does not confine this user: a login gets the host, and no container"
			}
			if asJSON {
				return printJSON(cmd, e)
			}
			e.Write(cmd.OutOrStdout())
			return nil
		})(cmd, nil)
	}
	return cmd
}
