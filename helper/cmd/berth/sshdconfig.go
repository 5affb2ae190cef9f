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

// sshdConfigCommand makes sshd's drop-in of berth.toml, because sshd decides what users may forward.
func sshdConfigCommand(config *string) *cobra.Command {
	var install bool
	cmd := &cobra.Command{Use: "sshd-config", Short: "print sshd's drop-in for the profiles of berth.toml, or install it", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&install, "install", false, "write it to sshd_config.d, unless sshd or berth check finds a fault in it")
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
		// An interrupt must restore the old drop-in, not end the program half-way.
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
