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
	"errors"
	"fmt"
	"os"
	"strings"

	"berth/helper/internal/host/environ"
	"berth/helper/internal/host/identity"
	"berth/helper/internal/host/process"
	"berth/helper/internal/host/request"
	"berth/helper/internal/host/session"
	"berth/helper/internal/link/access"
	"berth/helper/internal/link/drain"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/sessionlog"
	"berth/helper/internal/policy"
)

// ExecSuffix is what the exec transport's program has behind berth-session's
// own name, in the same directory.
const ExecSuffix = "-exec"

// Program is what differs between the two programs: how it looks names up, and how it
// gets to the container.
type Program struct {
	Name string // the transport's, as berth.toml has it
	// Place is the user's container, or PlaceError why there is none.
	Place      Place
	PlaceError error
	Directory  func(policy.Policy) identity.Directory
	// EngineGroup is the group whose members are as good as root.
	EngineGroup func(policy.Policy) uint32
	// Transport returns what starts the session's guest. Its error has words
	// for the user.
	Transport func(policy.Policy) (session.Transport, error)
	// Fallback is asked when the policy is known, with no error, and when the
	// session could not be started, with that. It may make this process another
	// program, with the environment env; what it returns is why the login fails.
	// Nil: never.
	Fallback func(p policy.Policy, env []string, err error) error
}

// Main logs the user of this process in and ends the process.
func Main(program Program) {
	caller, err := process.Start()
	record := sessionlog.Open()
	record.Facts.Transport = program.Name
	record.Tell(process.NoteSession)
	var ending lifeline.Ending
	var traffic session.Traffic
	if err == nil {
		ending, traffic, err = login(program, caller, record)
	}
	status := report(os.Stderr, record, ending, traffic, err)
	if ending.Signal != 0 && err == nil {
		process.DieBy(ending.Signal)
	}
	os.Exit(status)
}

func login(program Program, caller process.Caller, record *sessionlog.Record) (ending lifeline.Ending, traffic session.Traffic, err error) {
	c, err := policy.Load(policy.Path)
	if err != nil {
		return ending, traffic, loginerror.New("this gateway is misconfigured; nobody can log in until its administrator has mended it", err)
	}
	if program.Fallback != nil {
		if err := program.Fallback(c.Base, record.Environ(), nil); err != nil {
			return ending, traffic, err
		}
	}
	account, err := identity.Current(program.Directory(c.Base))
	if err != nil {
		return ending, traffic, err
	}
	record.Facts.User = account.Name
	limits := access.Limits{UIDMin: c.Base.Users.UIDMin, UIDMax: c.Base.Users.UIDMax, RootGroups: []uint32{program.EngineGroup(c.Base)}}
	if err := access.Check(account.Caller(), limits); err != nil {
		return ending, traffic, err
	}
	p, err := program.Place.policy(c, program.PlaceError)
	if err != nil {
		return ending, traffic, err
	}
	record.Facts.Container, record.Facts.Image = p.Container.Name, p.Container.Image
	self, err := os.Executable()
	if err != nil {
		return ending, traffic, fmt.Errorf("own path: %w", err)
	}
	self = strings.TrimSuffix(self, ExecSuffix)
	req, err := request.Parse(os.Args, self, os.Getenv("SSH_ORIGINAL_COMMAND"), account.Name)
	if err != nil {
		return ending, traffic, err
	}
	record.Facts.Kind, record.Facts.Command = req.Kind.String(), req.Command
	record.Requested()
	for _, value := range c.Base.Renamed {
		record.Warn("berth.toml: " + value)
	}
	if err := drain.Check(policy.DrainFile); err != nil {
		return ending, traffic, err
	}
	notePrepared(session.HasTTY())
	transport, err := program.Transport(p)
	if err != nil {
		return ending, traffic, err
	}
	s := assemble(p, caller, account, req, self, record.Warn)
	s.Start.ID, s.Started = record.ID, record.Started
	ending, traffic, err = s.Run(context.Background(), transport)
	if err != nil && program.Fallback != nil {
		err = program.Fallback(p, record.Environ(), err)
	}
	if p.Mode == policy.PerUser && errors.Is(err, loginerror.ErrNotServed) {
		err = loginerror.New(noContainerOfOwn, err)
	}
	return ending, traffic, err
}

// noContainerOfOwn: nobody who may start a container acts for a session on an open connection.
const noContainerOfOwn = "your container does not run; connect again, and if that does not help tell the administrator"

// assemble makes the session of what policy, process, account and client say.
func assemble(p policy.Policy, caller process.Caller, account identity.Account, req request.Request, self string, warn func(string)) *session.Session {
	shells := []string{account.Shell, p.Session.Shell, "/bin/sh"}
	if account.Shell == self || account.Shell == "" {
		shells = shells[1:] // the user has berth-session for a login shell
	}
	umask := caller.Umask
	if p.Session.Umask != nil {
		umask = *p.Session.Umask
	}
	sftp := []string{p.Session.SFTPServer}
	if p.Session.SFTPServer == "" {
		sftp = []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"}
	}
	socket, connect := findAgent(p, req, account.Home, warn)
	facts := environ.Facts{User: account.Name, Home: account.Home, Path: p.Session.Path, TTY: session.HasTTY(), Agent: socket}
	return &session.Session{
		Account: account, Request: req, Shells: shells, Timeout: p.Session.Timeout, AfterStart: process.FreeMemory,
		Ready: checkForward(p), Agent: connect, Warn: warn,
		Start: lifeline.StartRequest{
			Kind: req.Kind, Command: req.Command, SFTP: sftp,
			Env:   environ.Build(facts, os.Environ(), p.Session.AcceptEnv, p.Session.SetEnv),
			Umask: umask, Limits: caller.Limits,
		},
	}
}
