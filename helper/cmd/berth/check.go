// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/helper/internal/admin/sshdcheck"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
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

// tooStrong names the confined users who are in the group of the engine's socket:
// that is as good as root, so every login of theirs is refused.
func tooStrong(cmd *cobra.Command, socket string, confined []string) {
	var st unix.Stat_t
	if unix.Stat(socket, &st) != nil {
		return // without an engine there is more to say, and it has been said
	}
	group := strconv.FormatUint(uint64(st.Gid), 10)
	for _, name := range confined {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		if groups, err := account.GroupIds(); err == nil && slices.Contains(groups, group) {
			cmd.PrintErrf("berth: %s is confined, and in the group of the engine's socket (gid %s), which is as good as root: their logins are refused; "+
				"take them out of one of the two groups\n", name, group)
		}
	}
}

func named(users []string) string {
	if len(users) == 0 {
		return "nobody yet"
	}
	return strings.Join(users, " ")
}
