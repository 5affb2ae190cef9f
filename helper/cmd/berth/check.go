// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"strings"

	"berth/helper/internal/admin/dropin"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/admin/sshdcheck"
	"berth/helper/internal/policy"

	"github.com/spf13/cobra"
)

// errNotConfined says that the host does not confine the users that it should, or confines
// others. What was found is printed before it.
var errNotConfined = errors.New("sshd or PAM is not as berth needs it, see above")

func checkCommand(config *string) *cobra.Command {
	var confined, stack bool
	cmd := &cobra.Command{Use: "check", Short: "say whether sshd and PAM confine the users that they should", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&confined, "confined", false, "print the users that sshd or their login shell confines now, a line each")
	cmd.Flags().BoolVar(&stack, "pam", false, "judge the PAM stack alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), commandTimeout)
		defer cancel()
		if confined {
			names, err := sshdcheck.This(host(*config).Session()).ConfinedUsers(ctx)
			if err != nil {
				return err
			}
			for _, name := range names {
				cmd.Println(name)
			}
			return nil
		}
		scope := sshdcheck.All
		if stack {
			scope = sshdcheck.Stack
		}
		report, err := checkHost(ctx, cmd, *config, scope)
		if err == nil && len(report.Notes) == 0 {
			cmd.Printf("confined  %s\nhost      %s\n", joinNames(report.Confined), joinNames(report.Admins))
		}
		return err
	}
	return cmd
}

// sshdOf is this host's sshd, with what the configuration says of it. Also with an error it can be asked: then
// nobody may forward anything.
func sshdOf(config string) (sshdcheck.Host, policy.Config, error) {
	h := sshdcheck.This(host(config).Session())
	c, err := policy.Load(config)
	if err == nil {
		h.Policies = c
		h.Wanted, err = dropin.Text(c, h.Session)
	}
	return h, c, err
}

// checkHost says what is wrong with sshd and PAM, and fails if anything is.
func checkHost(ctx context.Context, cmd *cobra.Command, config string, scope sshdcheck.Scope) (sshdcheck.Report, error) {
	h, _, wrong := sshdOf(config)
	report, err := h.Check(ctx, scope)
	if err != nil {
		return report, errors.Join(wrong, err)
	}
	for _, note := range report.Notes {
		cmd.PrintErrf("berth: %s\n", note)
	}
	for _, p := range report.Problems {
		cmd.PrintErrf("berth: %s\nberth:   %s\nberth:   %s\n", p.Effect, strings.ReplaceAll(p.Evidence, "\n", "\nberth:   "), p.Remedy)
	}
	if report.Faults() {
		err = errNotConfined
	}
	return report, errors.Join(wrong, err)
}

// forwardNotes says where sshd and PAM do not forward as the configuration says.
func forwardNotes(ctx context.Context, config string) (notes []hostfiles.Note) {
	h, _, err := sshdOf(config)
	report, cerr := h.Check(ctx, sshdcheck.Sample)
	if err = errors.Join(err, cerr); err != nil {
		notes = append(notes, hostfiles.Note{Text: err.Error()})
	}
	for _, p := range report.Problems {
		if p.Forwards {
			notes = append(notes, hostfiles.Note{Text: p.Effect + ": " + p.Evidence + "; " + p.Remedy, Fatal: p.NoLogins, Profiles: p.Profiles})
		}
	}
	return notes
}

// printEngineMembers names the confined users who are in the group of the engine's
// socket: that is as good as root, so every login of theirs is refused.
func printEngineMembers(cmd *cobra.Command, confined []string, group uint32) {
	for _, name := range sshdcheck.Members(confined, group) {
		cmd.PrintErrf("berth: %s is confined, and in the group of the engine's socket (gid %d), which is as good as root: "+
			"their logins are refused; take them out of one of the two groups\n", name, group)
	}
}

func joinNames(users []string) string {
	if len(users) == 0 {
		return "nobody yet"
	}
	return strings.Join(users, " ")
}
