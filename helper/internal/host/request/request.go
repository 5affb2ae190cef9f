// SPDX-License-Identifier: Apache-2.0

// Package request says what the client asked for, from the three things sshd
// and login programs leave: argv, SSH_ORIGINAL_COMMAND, and nothing else. All
// of it is the client's choice; none of it decides who runs it, or where.
package request

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
)

// Request is what the client asked for.
type Request struct {
	Kind    lifeline.RequestKind
	Command string // the client's bytes, unchanged; of a CommandRequest
}

var (
	// ErrSomeoneElse is an argument that names another account.
	ErrSomeoneElse = refusal("the argument names another account")
	// ErrUsage is an argument list that no login program makes.
	ErrUsage = refusal("unexpected arguments")
)

func refusal(reason string) error {
	return loginerror.New("this login was refused: "+reason, errors.New(reason))
}

// Parse reads argv and the value of SSH_ORIGINAL_COMMAND. self is this
// program's own path, user the account's name.
//
// As a ForceCommand there is no argument, or the user's name, or the literal
// %u of a configuration that hoped for a token (ForceCommand expands none,
// sshd_config(5) TOKENS). As a login shell there is `-c COMMAND`, and where
// both are configured COMMAND is this program again.
func Parse(argv []string, self, original, user string) (Request, error) {
	var args []string
	if len(argv) > 0 {
		args = argv[1:]
	}
	if len(args) == 2 && args[0] == "-c" {
		words := strings.Fields(args[1])
		if len(words) == 0 || words[0] != self || len(words) > 2 {
			return command(args[1]), nil
		}
		args = words[1:]
	}
	switch {
	case len(args) == 0:
	case len(args) > 1 || strings.HasPrefix(args[0], "-"):
		return Request{}, ErrUsage
	case args[0] != "%u" && args[0] != user:
		return Request{}, fmt.Errorf("%w: %q", ErrSomeoneElse, args[0])
	}
	if original == "" {
		return Request{Kind: lifeline.ShellRequest}, nil
	}
	return command(original), nil
}

// command tells the sftp subsystem from other commands: for it sshd passes the
// Subsystem line's own text (session.c, session_subsystem_req), which names a
// program of the host's.
func command(text string) Request {
	if words := strings.Fields(text); len(words) > 0 && !strings.ContainsAny(text, ";|&<>`$()\n'\"\\") {
		if words[0] == "internal-sftp" || filepath.IsAbs(words[0]) && filepath.Base(words[0]) == "sftp-server" {
			return Request{Kind: lifeline.SFTPRequest}
		}
	}
	return Request{Kind: lifeline.CommandRequest, Command: text}
}
