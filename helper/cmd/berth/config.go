// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

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
