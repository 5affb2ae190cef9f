// SPDX-License-Identifier: Apache-2.0

// berth-session is what sshd runs for a confined user, as that user: the
// ForceCommand, or the login shell. It holds no right that the user lacks, and is a
// static program: no loader stands before it that the environment could talk to. Where the container
// serves sessions it connects to it; elsewhere, as the policy says, it gives way
// to berth-session-exec.
package main

import (
	"errors"
	"fmt"
	"os"

	"berth/helper/internal/host/direct"
	"berth/helper/internal/host/identity"
	"berth/helper/internal/host/login"
	"berth/helper/internal/host/process"
	"berth/helper/internal/host/session"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

func main() {
	attempt := direct.Dial(policy.ServeSocket)
	login.Main(login.Program{
		Name:        policy.Direct,
		Directory:   func(policy.Policy) identity.Directory { return &identity.Records{Dir: policy.NamesDir} },
		EngineGroup: engineGroup,
		Transport: func(p policy.Policy) (session.Transport, error) {
			return direct.Transport(attempt, policy.ServeSocket, p.Session.Timeout, p.Transport == policy.Direct), nil
		},
		Fallback: fallback,
	})
}

// engineGroup is the group of the engine's socket. The container's server checks
// it again: here it is for the words that the user gets.
func engineGroup(p policy.Policy) uint32 {
	var st unix.Stat_t
	if unix.Stat(p.Engine.Socket, &st) != nil {
		return identity.NoGroup
	}
	return st.Gid
}

// fallback gives way to the exec transport, if the policy allows it and nothing
// has been asked of the container yet.
func fallback(p policy.Policy, env []string, err error) error {
	switch {
	case p.Transport == policy.Exec && err == nil:
	case p.Transport == policy.Auto && errors.Is(err, loginerror.ErrNotServed):
	default:
		return err
	}
	self, ferr := os.Executable()
	if ferr == nil {
		ferr = process.Execute(self+login.ExecSuffix, env)
	}
	return errors.Join(err, fmt.Errorf("%s%s: %w", self, login.ExecSuffix, ferr))
}
