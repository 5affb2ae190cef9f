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
	"time"

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
	place, err := login.FindPlace()
	attempt := direct.Dial(place.Socket())
	login.Main(login.Program{
		Name:        policy.Direct,
		Place:       place,
		PlaceError:  err,
		Directory:   func(policy.Policy) identity.Directory { return &identity.Records{Dir: policy.NamesDir} },
		EngineGroup: engineGroup,
		Transport: func(p policy.Policy) (session.Transport, error) {
			return direct.Transport(attempt, place.Socket(), patience(p), p.Transport == policy.Direct), nil
		},
		Fallback: fallback,
	})
}

// patience is how long to wait for a container that does not serve. One that is the user's own is not made
// now, but when PAM opens a session: there is no use in waiting for more than its restart, and none at all
// where PAM has just failed to make it.
func patience(p policy.Policy) time.Duration {
	switch {
	case p.Mode != policy.PerUser:
		return p.Session.Timeout
	case login.PrepareFailed():
		return 0
	}
	return min(p.Session.Timeout, restartTime)
}

// restartTime is how long the engine may take to start a container that has crashed.
const restartTime = 3 * time.Second

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
