// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"berth/helper/internal/sshdcheck"

	"github.com/spf13/cobra"
)

// errOpen is a host that does not confine those whom it should, or confines
// others. What was found is printed before it.
var errOpen = errors.New("sshd or PAM is not as berth needs it, see above")

func checkCommand() *cobra.Command {
	var confined, stack bool
	cmd := &cobra.Command{Use: "check", Short: "say whether sshd and PAM confine the users that they should", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&confined, "confined", false, "print the users that sshd or their login shell confines now, a line each")
	cmd.Flags().BoolVar(&stack, "pam", false, "judge the PAM stack alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		if confined {
			names, err := thisHost().Confined(ctx)
			if err != nil {
				return err
			}
			for _, name := range names {
				cmd.Println(name)
			}
			return nil
		}
		report, err := checkHost(ctx, cmd, stack)
		if err == nil && len(report.Notes) == 0 {
			cmd.Printf("confined  %s\nhost      %s\n", named(report.Confined), named(report.Whole))
		}
		return err
	}
	return cmd
}

func thisHost() sshdcheck.Host {
	return sshdcheck.This(filepath.Join(libexec(), "berth-session"))
}

// checkHost says what is wrong with sshd and PAM, and fails if anything is.
func checkHost(ctx context.Context, cmd *cobra.Command, stack bool) (sshdcheck.Report, error) {
	report, err := thisHost().Check(ctx, stack)
	if err != nil {
		return report, err
	}
	for _, note := range report.Notes {
		cmd.PrintErrf("berth: %s\n", note)
	}
	for _, p := range report.Problems {
		cmd.PrintErrf("berth: %s\nberth:   %s\nberth:   %s\n", p.Gets, strings.ReplaceAll(p.Says, "\n", "\nberth:   "), p.Mend)
	}
	if len(report.Problems) > 0 {
		return report, errOpen
	}
	return report, nil
}

func named(users []string) string {
	if len(users) == 0 {
		return "nobody yet"
	}
	return strings.Join(users, " ")
}
