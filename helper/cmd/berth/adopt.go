// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"

	"berth/helper/internal/engine"
	"berth/helper/internal/policy"
	"berth/helper/internal/serve"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// adopt has a container that berth did not make serve sessions, until it stops.
func adopt(ctx context.Context, cmd *cobra.Command, p policy.Policy, e *engine.Engine, name string) error {
	if p.Transport == policy.Docker {
		return errors.New("transport is docker: only a container that serves sessions can be adopted")
	}
	var socket unix.Stat_t
	if err := unix.Stat(p.Engine.Socket, &socket); err != nil {
		return err
	}
	r, err := served(p, socket.Gid)
	if err != nil {
		return err
	}
	// The keeper comes first: a name that leads to nobody would keep people out.
	nonce := rand.Text()
	pid, err := e.Run(ctx, name, filepath.Join(p.Container.Guest, "berth-enter"), "adopt", nonce)
	if err != nil {
		return err
	}
	listener, err := serve.Listen(p.Container.Serve)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	// It answers when it has them.
	if err := serve.Hand(pid, nonce, listener, r); err != nil {
		return err
	}
	cmd.Printf("%s serves sessions until it stops; they have no names of users and groups there unless its image does\n", name)
	return nil
}
