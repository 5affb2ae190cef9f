// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/test/labs"
)

// The columns, in the order in which they are measured and printed.
const (
	plain = iota
	direct
	byExec
	cli
	columns
)

// A column is one way to run a command on the host.
type column struct {
	ctx       context.Context
	name      string
	transport string   // of berth's, which the record of its sessions has; "": without berth
	args      []string // of ssh, before the command
}

func (c column) command(options ...string) *exec.Cmd {
	// Options may stand behind the host.
	return exec.CommandContext(c.ctx, "ssh", append(slices.Clone(c.args), options...)...)
}

// checkTransport fails when a command of the column goes another way than it should: `auto` would use
// the other transport as well, and say nothing.
func (c column) checkTransport(lab *labs.Lab) error {
	mark := ": the column " + c.name
	if err := c.command(mark).Run(); err != nil {
		return fmt.Errorf("%s does not work: %w: %s", c.name, err, words(err))
	}
	transport := ""
	for end := time.Now().Add(10 * time.Second); c.transport != "" && transport == "" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		id := ""
		for _, line := range lab.Record() { // which another process writes
			if line.Fields["command"] == mark {
				id = line.Fields["id"]
			}
			if line.Event == "started" && line.Fields["id"] == id {
				transport = line.Fields["transport"]
			}
		}
	}
	if transport != c.transport {
		return fmt.Errorf("%s is something else: its transport is %q", c.name, transport)
	}
	return nil
}

func words(err error) []byte {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}

// share opens one connection for each column, for its commands to share.
func (b *bench) share() (closeAll func(), err error) {
	closeAll = func() {
		for _, c := range b.shared {
			_ = exec.Command("ssh", append([]string{"-O", "exit"}, c.args...)...).Run()
		}
	}
	for i, c := range b.direct {
		c.args = append([]string{"-o", "ControlPath=" + filepath.Join(b.lab, fmt.Sprintf("mux%d", i))}, c.args...)
		if err := c.command("-M", "-N", "-f").Run(); err != nil {
			return closeAll, fmt.Errorf("%s: master: %w", c.name, err)
		}
		b.shared = append(b.shared, c)
	}
	return closeAll, nil
}

// session is a command that runs on: it has said "up", and ends with its input.
type session struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startSession(cmd *exec.Cmd) (*session, error) {
	s := &session{cmd: cmd}
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	return s, cmd.Start()
}

// open starts a session that copies its input to its output. With ssh's options
// -tt its terminal is raw.
func (c column) open(options ...string) (*session, error) {
	command := "echo up; exec cat"
	if slices.Contains(options, "-tt") {
		command = "stty raw -echo; " + command
	}
	s, err := startSession(c.command(append(options, command)...))
	if err != nil {
		return nil, err
	}
	if line, err := s.out.ReadString('\n'); strings.TrimSpace(line) != "up" {
		s.close()
		return nil, fmt.Errorf("%s: a session says %q: %w", c.name, line, err)
	}
	return s, nil
}

// login opens a session with a terminal and waits for its shell.
func (c column) login() (*session, error) {
	s, err := startSession(c.command("-tt"))
	if err != nil {
		return nil, err
	}
	if err := s.shell("up"); err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return s, nil
}

// shell has the session's shell say something. What is echoed does not hold it.
func (s *session) shell(word string) error {
	if _, err := fmt.Fprintf(s.in, "printf '<%%s>\\n' %s\n", word); err != nil {
		return err
	}
	var said strings.Builder
	for !strings.Contains(said.String(), "<"+word+">") {
		line, err := s.out.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			return fmt.Errorf("a session says %q: %w", said.String(), err)
		}
	}
	return nil
}

// close ends the session. One with a terminal sees no end of its input: its
// client is killed.
func (s *session) close() {
	s.in.Close()
	if slices.Contains(s.cmd.Args, "-tt") {
		_ = s.cmd.Process.Kill()
	}
	_ = s.cmd.Wait()
}

// crowd opens n sessions and returns what ends them.
func (c column) crowd(n int) (closeAll func(), err error) {
	all, errs := labs.Several(n, func() (*session, error) { return c.open() })
	return func() {
		for _, s := range all {
			s.in.Close() // together, not one by one
		}
		for _, s := range all {
			s.close()
		}
	}, errors.Join(errs...)
}
