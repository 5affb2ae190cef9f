// SPDX-License-Identifier: Apache-2.0

// berth-session is what sshd runs for a confined user, as her: the ForceCommand,
// or her login shell. It has the engine start berth-enter in the container and
// stays until the session ends.
//
// Exit status: the command's own; 128+n by dying of signal n; 126 and 127 when
// the program inside cannot be run or is not there; 255 when berth refuses or
// fails. Never 254, which is sshd's own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"berth/helper/internal/audit"
	"berth/helper/internal/environ"
	"berth/helper/internal/identity"
	"berth/helper/internal/lifeline"
	"berth/helper/internal/policy"
	"berth/helper/internal/request"
	"berth/helper/internal/session"
	"berth/helper/internal/transport"
)

func main() {
	id := audit.NewID()
	log := audit.Open(id)
	ending, err := login(readPrelude(), log)
	status := report(os.Stderr, log, id, ending, err)
	if ending.Signal != 0 && err == nil {
		dieBy(ending.Signal)
	}
	os.Exit(status)
}

// login runs one session, from who to how it ended.
func login(pre prelude, log *slog.Logger) (lifeline.Ending, error) {
	var none lifeline.Ending
	account, err := identity.Current()
	if err != nil {
		return none, err
	}
	p, err := policy.Load(policy.Path)
	if err != nil {
		return none, err
	}
	rule := identity.Rule{UIDMin: p.Users.UIDMin, UIDMax: p.Users.UIDMax, EngineGroup: pre.group}
	if !pre.privileged {
		rule.EngineGroup = noGroup
	}
	if err := rule.Check(account); err != nil {
		return none, &denied{err}
	}
	self, err := os.Executable()
	if err != nil {
		return none, fmt.Errorf("own path: %w", err)
	}
	req, err := request.Parse(os.Args, self, os.Getenv("SSH_ORIGINAL_COMMAND"), account.Name)
	if err != nil {
		return none, &denied{err}
	}
	started := time.Now()
	log.Info("session requested", "user", account.Name, "uid", account.UID, "from", audit.Excerpt(os.Getenv("SSH_CONNECTION")),
		"kind", req.Kind.String(), "command", audit.Excerpt(req.Command))
	if err := errors.Join(ready(pre), linked(p.Engine.Socket)); err != nil {
		return none, err
	}
	s := assemble(p, pre, account, req, self)
	s.Log, s.Settled = log, slim
	ending, err := s.Run(context.Background(), transport.Docker(p, pre.opened))
	log.Info("session ended", "user", account.Name, "status", ending.Status, "signal", ending.Signal,
		"seconds", fmt.Sprintf("%.1f", time.Since(started).Seconds()))
	return ending, err
}

// noGroup is no group's id ((gid_t)-1, credentials(7)).
const noGroup = 1<<32 - 1

// assemble makes the session of what policy, prelude, account and client say.
func assemble(p policy.Policy, pre prelude, account identity.Account, req request.Request, self string) *session.Session {
	shells := []string{account.Shell, p.Session.Shell, "/bin/sh"}
	if account.Shell == self || account.Shell == "" {
		shells = shells[1:] // she has this program for a login shell
	}
	umask := pre.umask
	if p.Session.Umask != nil {
		umask = *p.Session.Umask
	}
	sftp := []string{p.Session.SFTPServer}
	if p.Session.SFTPServer == "" {
		sftp = []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"}
	}
	kinds := map[request.Kind]string{request.Shell: lifeline.RunShell, request.Command: lifeline.RunCommand, request.SFTP: lifeline.RunSFTP}
	facts := environ.Facts{User: account.Name, Home: account.Home, Path: p.Session.Path, TTY: session.HasTTY()}
	return &session.Session{
		Account: account, Request: req, Shells: shells, Timeout: p.Session.Timeout,
		Start: lifeline.StartRequest{
			Run: kinds[req.Kind], Command: req.Command, SFTP: sftp,
			Env:   environ.Build(facts, os.Environ(), p.Session.AcceptEnv, p.Session.SetEnv),
			Umask: umask, Limits: pre.limits, Linger: p.Session.Linger,
		},
	}
}

// ready returns why the privileged moment left nothing to work with.
func ready(pre prelude) error {
	if !pre.privileged {
		return errNotSetgid
	}
	if pre.engineErr != nil {
		return fmt.Errorf("%w: %w", errNoEngine, pre.engineErr)
	}
	if pre.opened.Listener < 0 {
		return pre.lifelineErr
	}
	return nil
}

// linked fails when the engine that was connected to is not the one that the
// configuration names.
func linked(socket string) error {
	target, err := os.Readlink(engineLink)
	if err != nil {
		return fmt.Errorf("engine link: %w", err)
	}
	if target != socket {
		return fmt.Errorf("%s leads to %s, engine.socket is %s: run `berth up`", engineLink, target, socket)
	}
	return nil
}

// engineLink is where the prelude connects (prelude.c).
const engineLink = "/etc/berth/engine.sock"
