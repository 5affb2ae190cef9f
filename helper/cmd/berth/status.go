// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/policy"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// status is all that is known without one of its parts: the engine may be away, and
// the container with it.
type status struct {
	Container string `json:"container"`
	Transport string `json:"transport"`
	Sessions  int    `json:"sessions"`
	engine.State
	EngineError string   `json:"engine_error,omitempty"`
	Logins      bool     `json:"logins"` // work
	Why         string   `json:"why,omitempty"`
	Notes       []string `json:"notes,omitempty"`
}

// asking bounds what status waits for; settling, a server that is just renewed or has
// no supervisor ready for a moment.
const (
	asking   = 10 * time.Second
	settling = 2 * time.Second
)

// look finds out how things are. It returns why a login would fail.
func look(ctx context.Context, p policy.Policy, e *engine.Engine) (status, error) {
	s := status{Container: p.Container.Name, Transport: p.Transport}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	state, err := e.Inspect(ctx, p)
	s.State = state
	if err != nil {
		s.EngineError = err.Error()
	}
	count, fails := keeper().Count()
	s.Sessions = count.Sessions
	switch {
	case err == nil && !s.Exists:
		fails = errors.New("there is no container")
	case err == nil && s.Status != "running":
		fails = fmt.Errorf("the container is %s", s.Status)
	case fails == nil:
		fails = loginsFail(ctx, p, e)
	}
	for _, note := range hostNotes(p) {
		s.Notes = append(s.Notes, note.text)
		if note.closed && fails == nil {
			fails = errors.New(note.text)
		}
	}
	if s.Logins = fails == nil; !s.Logins {
		s.Why = fails.Error()
	}
	return s, fails
}

// loginsFail is why a login would fail in the container. With auto, as with direct,
// it needs no engine.
func loginsFail(ctx context.Context, p policy.Policy, e *engine.Engine) error {
	if p.Transport == policy.Auto {
		p.Transport = policy.Direct
	}
	for end := time.Now().Add(settling); ; time.Sleep(20 * time.Millisecond) {
		err := serves(ctx, p, e)
		if err == nil || errors.Is(err, control.ErrNoKeeper) || errors.Is(err, control.ErrRemapped) || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
	}
}

// hostNotes are what is wrong with the programs that sshd runs.
func hostNotes(p policy.Policy) []note {
	var socket unix.Stat_t
	err := unix.Stat(p.Engine.Socket, &socket)
	if err == nil && socket.Mode&unix.S_IFMT != unix.S_IFSOCK {
		err = unix.ENOTSOCK
	}
	if err != nil && p.Transport != policy.Direct {
		return []note{{text: fmt.Sprintf("engine.socket: %s: %v", p.Engine.Socket, err)}}
	}
	return programs(p.Transport, socket)
}

func statusCommand(config *string, with runner) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "status", Short: "say how the engine, the container and its sessions are; fail where logins do", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.RunE = with(func(ctx context.Context, cmd *cobra.Command, p policy.Policy, e *engine.Engine) error {
		s, fails := look(ctx, p, e)
		if asJSON {
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetIndent("", "  ")
			if err := encoder.Encode(s); err != nil {
				return err
			}
		} else {
			s.print(cmd, p, *config)
		}
		if fails != nil {
			return fmt.Errorf("logins fail: %w", fails)
		}
		return nil
	})
	return cmd
}

func (s status) print(cmd *cobra.Command, p policy.Policy, config string) {
	state := s.Status
	switch {
	case s.EngineError != "":
		cmd.Printf("engine      %s at %s\n", s.EngineError, p.Engine.Socket)
		state = "of which the engine would know more"
	default:
		cmd.Printf("engine      %s at %s, live-restore %t\n", s.Engine, p.Engine.Socket, s.LiveRestore)
		if !s.Exists {
			state = "missing"
		}
	}
	logins := "work"
	if !s.Logins {
		logins = "fail: " + s.Why
	}
	cmd.Printf("container   %s, %s\ntransport   %s\nsessions    %d\nlogins      %s\nconfigured  in %s\n", s.Container, state, s.Transport, s.Sessions, logins, config)
	for _, d := range s.Differences {
		cmd.Printf("differs     %s: is %q, should be %q\n", d.Key, d.Have, d.Want)
	}
	for _, note := range s.Notes {
		cmd.Printf("note        %s\n", note)
	}
}
