// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os/signal"

	"berth/helper/internal/admin/dropin"
	"berth/helper/internal/admin/sshdcheck"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// sshdConfigCommand is what sshd's part of the configuration follows from: sshd decides who may forward what.
func sshdConfigCommand(config *string) *cobra.Command {
	var install bool
	cmd := &cobra.Command{Use: "sshd-config", Short: "print berth's part of sshd's configuration, or put it in place", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&install, "install", false, "put it in place, if sshd confines by it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sshd, c, err := sshdOf(*config)
		if err != nil {
			return err
		}
		if !install {
			cmd.Print(sshd.Wanted)
			return nil
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), commandTimeout)
		defer cancel()
		// Whoever interrupts it gets back what was there.
		ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
		defer stop()
		dirs := host(*config)
		if c.ForwardsPorts() {
			if err := dirs.MarkForwarding(c, false); err != nil {
				return err
			}
		}
		report, err := dropin.Installer{Host: sshd, Written: dirs.WrittenDropIn(), Err: cmd.ErrOrStderr(),
			Check: func(ctx context.Context) (sshdcheck.Report, error) {
				return checkHost(ctx, cmd, *config, sshdcheck.All)
			},
		}.Install(ctx)
		if !c.ForwardsPorts() && report.NoForwards {
			err = errors.Join(err, dirs.MarkForwarding(c, false))
		}
		return err
	}
	return cmd
}
