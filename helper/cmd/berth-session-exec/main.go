// SPDX-License-Identifier: Apache-2.0

// berth-session-exec is berth-session by way of the engine: setgid to the
// group of the engine's socket, it has the engine start berth-guest in the
// container. berth-session gives way to it where the policy says so, and where
// the container does not serve sessions itself. It takes the same arguments and
// believes them as little.
package main

import (
	"errors"
	"fmt"
	"os"

	"berth/helper/internal/host/exec"
	"berth/helper/internal/host/identity"
	"berth/helper/internal/host/login"
	"berth/helper/internal/host/nss"
	"berth/helper/internal/host/session"
	"berth/helper/internal/policy"
)

func main() {
	privileged := readPrelude()
	place, err := login.FindPlace()
	login.Main(login.Program{
		Name:        policy.Exec,
		Place:       place,
		PlaceError:  err,
		Directory:   func(policy.Policy) identity.Directory { return nss.Directory{} },
		EngineGroup: func(policy.Policy) uint32 { return privileged.group },
		Transport: func(p policy.Policy) (session.Transport, error) {
			if p.Transport == policy.Direct {
				return nil, errors.New("transport is direct in berth.toml, so this program refuses every login")
			}
			if err := errors.Join(privileged.err, checkLink(p.Engine.Socket)); err != nil {
				return nil, err
			}
			return exec.Transport(p, privileged.sockets), nil
		},
	})
}

// checkLink fails when the engine that was connected to is not the one that the
// configuration names.
func checkLink(socket string) error {
	target, err := os.Readlink(policy.EngineLink)
	if err != nil {
		return fmt.Errorf("engine link: %w", err)
	}
	if target != socket {
		return fmt.Errorf("%s leads to %s, engine.socket is %s: run `berth up`", policy.EngineLink, target, socket)
	}
	return nil
}
