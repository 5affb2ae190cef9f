// SPDX-License-Identifier: Apache-2.0

// Package login is one login from who to how it ended, whichever transport
// takes it to the container.
//
// Exit status: the command's own; 128+n by dying of signal n; 126 and 127 when
// the program inside cannot be run or is not there; 255 when berth refuses or
// fails. Never 254, which is sshd's own.
package login

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"berth/helper/internal/host/environ"
	"berth/helper/internal/host/identity"
	"berth/helper/internal/host/process"
	"berth/helper/internal/host/request"
	"berth/helper/internal/host/session"
	"berth/helper/internal/link/access"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/sessionlog"
	"berth/helper/internal/policy"
)

// ExecSuffix is what the exec transport's program has behind berth-session's
// own name, in the same directory.
const ExecSuffix = "-exec"

// Way is a program's way to the container.
type Way struct {
	Directory func(policy.Policy) identity.Directory
	// EngineGroup is the group whose members are as good as root.
	EngineGroup func(policy.Policy) uint32
	// Transport returns what starts the session's guest. Its error has words
	// for the user.
	Transport func(policy.Policy) (session.Transport, error)
	// Instead is asked when the policy is known, with no error, and when the
	// session could not be started, with that. It may make this process
	// another program; what it returns is why the login fails. Nil: never.
	Instead func(policy.Policy, error) error
}

// Main logs the user of this process in and ends the process.
func Main(way Way) {
	caller, err := process.Start()
	id := sessionlog.NewID()
	log := sessionlog.Open(id)
	var ending lifeline.Ending
	if err == nil {
		ending, err = login(way, caller, log)
	}
	status := report(os.Stderr, log, id, ending, err)
	if ending.Signal != 0 && err == nil {
		process.DieBy(ending.Signal)
	}
	os.Exit(status)
}

func login(way Way, caller process.Caller, log *slog.Logger) (lifeline.Ending, error) {
	var none lifeline.Ending
	p, err := policy.Load(policy.Path)
	if err != nil {
		return none, loginerror.New("this gateway is misconfigured; nobody can log in until its administrator has mended it", err)
	}
	for _, value := range p.Renamed {
		log.Warn("berth.toml", "renamed", value)
	}
	if way.Instead != nil {
		if err := way.Instead(p, nil); err != nil {
			return none, err
		}
	}
	account, err := identity.Current(way.Directory(p))
	if err != nil {
		return none, err
	}
	limits := access.Limits{UIDMin: p.Users.UIDMin, UIDMax: p.Users.UIDMax, RootGroups: []uint32{way.EngineGroup(p)}}
	if err := access.Check(account.Caller(), limits); err != nil {
		return none, err
	}
	self, err := os.Executable()
	if err != nil {
		return none, fmt.Errorf("own path: %w", err)
	}
	self = strings.TrimSuffix(self, ExecSuffix)
	req, err := request.Parse(os.Args, self, os.Getenv("SSH_ORIGINAL_COMMAND"), account.Name)
	if err != nil {
		return none, err
	}
	started := time.Now()
	log.Info("session requested", "user", account.Name, "uid", account.UID, "from", sessionlog.Excerpt(os.Getenv("SSH_CONNECTION")),
		"kind", req.Kind.String(), "command", sessionlog.Excerpt(req.Command))
	transport, err := way.Transport(p)
	if err != nil {
		return none, err
	}
	s := assemble(p, caller, account, req, self)
	s.Log = log
	ending, err := s.Run(context.Background(), transport)
	if err != nil && way.Instead != nil {
		err = way.Instead(p, err)
	}
	log.Info("session ended", "user", account.Name, "status", ending.Status, "signal", ending.Signal,
		"seconds", fmt.Sprintf("%.1f", time.Since(started).Seconds()))
	return ending, err
}

// assemble makes the session of what policy, process, account and client say.
func assemble(p policy.Policy, caller process.Caller, account identity.Account, req request.Request, self string) *session.Session {
	shells := []string{account.Shell, p.Session.Shell, "/bin/sh"}
	if account.Shell == self || account.Shell == "" {
		shells = shells[1:] // she has berth-session for a login shell
	}
	umask := caller.Umask
	if p.Session.Umask != nil {
		umask = *p.Session.Umask
	}
	sftp := []string{p.Session.SFTPServer}
	if p.Session.SFTPServer == "" {
		sftp = []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"}
	}
	facts := environ.Facts{User: account.Name, Home: account.Home, Path: p.Session.Path, TTY: session.HasTTY()}
	return &session.Session{
		Account: account, Request: req, Shells: shells, Timeout: p.Session.Timeout, Settled: process.Slim,
		Start: lifeline.StartRequest{
			Kind: req.Kind, Command: req.Command, SFTP: sftp,
			Env:   environ.Build(facts, os.Environ(), p.Session.AcceptEnv, p.Session.SetEnv),
			Umask: umask, Limits: caller.Limits,
		},
	}
}
