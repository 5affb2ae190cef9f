// SPDX-License-Identifier: Apache-2.0

package lifeline

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"berth/helper/internal/link/loginerror"
)

// Names is the body of an Identity frame. It names the ids that the kernel
// reported for the peer, and says nothing about which ids those are.
type Names struct {
	User   string
	Gecos  string
	Home   string
	Shells []string          // candidates, best first
	Groups map[uint32]string // name by gid
}

// Pack encodes n.
func (n Names) Pack() []byte {
	fields := []Field{{"user", n.User}, {"gecos", n.Gecos}, {"home", n.Home}}
	for _, shell := range n.Shells {
		fields = append(fields, Field{"shell", shell})
	}
	for gid, name := range n.Groups {
		fields = append(fields, Field{"group", strconv.FormatUint(uint64(gid), 10) + ":" + name})
	}
	return Pack(fields)
}

// UnpackNames decodes an Identity body. The names in it are not checked yet.
func UnpackNames(body []byte) (Names, error) {
	fields, err := Unpack(body)
	if err != nil {
		return Names{}, fmt.Errorf("identity: %w", err)
	}
	names := Names{Groups: map[uint32]string{}}
	for _, f := range fields {
		switch f.Key {
		case "user":
			names.User = f.Value
		case "gecos":
			names.Gecos = f.Value
		case "home":
			names.Home = f.Value
		case "shell":
			names.Shells = append(names.Shells, f.Value)
		case "group":
			id, name, _ := strings.Cut(f.Value, ":")
			gid, err := strconv.ParseUint(id, 10, 32)
			if err != nil {
				return Names{}, fmt.Errorf("identity: group id: %w", ErrMalformed)
			}
			names.Groups[uint32(gid)] = name
		default:
			return Names{}, fmt.Errorf("identity: unknown field: %w", ErrMalformed)
		}
	}
	return names, nil
}

// Guest is what a guest says of itself in its Ready frame. An older guest says nothing.
type Guest struct {
	// TakesID: it and its keeper take the id of a session, and send notices to a session that
	// has given one.
	TakesID bool
	// TakesAgent: it takes a Start that asks for an agent.
	TakesAgent bool
	// Net is the inode of its network namespace; 0: not said.
	Net uint64
}

// Pack encodes g. An older berth-session understands the first field alone, and takes any more
// for a guest that says nothing: then its session has no id inside.
func (g Guest) Pack() []byte {
	var fields []Field
	if g.TakesID {
		fields = append(fields, Field{"takes", "id"})
	}
	if g.TakesAgent {
		fields = append(fields, Field{"takes", "agent"})
	}
	if g.Net != 0 {
		fields = append(fields, Field{"net", strconv.FormatUint(g.Net, 10)})
	}
	return Pack(fields)
}

// UnpackGuest decodes a Ready body. It ignores fields that it does not know, which a newer guest may send.
func UnpackGuest(body []byte) (Guest, error) {
	var g Guest
	fields, err := Unpack(body)
	if err != nil {
		return g, fmt.Errorf("ready: %w", err)
	}
	for _, f := range fields {
		switch {
		case f == Field{"takes", "id"}:
			g.TakesID = true
		case f == Field{"takes", "agent"}:
			g.TakesAgent = true
		case f.Key == "net":
			if g.Net, err = strconv.ParseUint(f.Value, 10, 64); err != nil {
				return g, fmt.Errorf("ready: %w", ErrMalformed)
			}
		}
	}
	return g, nil
}

// AskReady sends a frame and waits for Ready.
func (c *Conn) AskReady(kind Kind, body []byte) error {
	answer, err := c.Ask(kind, body, Ready)
	if err == nil {
		c.guest, err = UnpackGuest(answer)
	}
	return err
}

// Guest is what the guest has said in its Ready frame.
func (c *Conn) Guest() Guest { return c.guest }

// PackNotice encodes the body of a Notice frame.
func PackNotice(text string) []byte { return Pack([]Field{{"text", text}}) }

// UnpackNotice decodes it.
func UnpackNotice(body []byte) (string, error) {
	fields, err := Unpack(body)
	if err != nil || len(fields) < 1 {
		return "", fmt.Errorf("notice: %w", ErrMalformed)
	}
	return fields[0].Value, nil
}

// Limit is one resource limit as setrlimit(2) takes it.
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// RequestKind is what a client asks to be run.
type RequestKind string

// The kinds of request that sshd makes of a forced command.
const (
	ShellRequest   RequestKind = "shell"   // the user's shell as a login shell
	CommandRequest RequestKind = "command" // the user's shell with -c
	SFTPRequest    RequestKind = "sftp"    // the sftp subsystem
)

func (k RequestKind) String() string { return string(k) }

// StartRequest is the body of a Start frame.
type StartRequest struct {
	ID      string // the session's in the log; empty: not said
	Kind    RequestKind
	Command string   // of a CommandRequest
	SFTP    []string // candidates for the sftp server, best first
	Env     []string // NAME=value, complete
	Umask   uint32
	Limits  []Limit
	Agent   bool // make a socket for the user's agent, and send its listener with Started
	TTY     bool
	Termios []byte // struct termios as the kernel has it; empty: the pty's defaults
	Rows    uint16
	Cols    uint16
	XPixels uint16
	YPixels uint16
}

// Pack encodes r.
func (r StartRequest) Pack() []byte {
	fields := []Field{
		{"run", r.Kind.String()}, {"command", r.Command}, {"umask", strconv.FormatUint(uint64(r.Umask), 8)},
		{"tty", strconv.FormatBool(r.TTY)},
		{"termios", hex.EncodeToString(r.Termios)},
		{"size", fmt.Sprintf("%d %d %d %d", r.Rows, r.Cols, r.XPixels, r.YPixels)},
	}
	// An older guest would refuse these two fields.
	if r.ID != "" {
		fields = append(fields, Field{"id", r.ID})
	}
	if r.Agent {
		fields = append(fields, Field{"agent", "true"})
	}
	for _, path := range r.SFTP {
		fields = append(fields, Field{"sftp", path})
	}
	for _, env := range r.Env {
		fields = append(fields, Field{"env", env})
	}
	for _, l := range r.Limits {
		fields = append(fields, Field{"limit", fmt.Sprintf("%d %d %d", l.Resource, l.Soft, l.Hard)})
	}
	return Pack(fields)
}

// UnpackStart decodes a Start body.
func UnpackStart(body []byte) (StartRequest, error) {
	var r StartRequest
	fields, err := Unpack(body)
	if err != nil {
		return r, fmt.Errorf("start: %w", err)
	}
	for _, f := range fields {
		var err error
		switch f.Key {
		case "id":
			r.ID = f.Value
		case "run":
			r.Kind = RequestKind(f.Value)
		case "command":
			r.Command = f.Value
		case "sftp":
			r.SFTP = append(r.SFTP, f.Value)
		case "env":
			r.Env = append(r.Env, f.Value)
		case "agent":
			r.Agent, err = strconv.ParseBool(f.Value)
		case "umask":
			var mask uint64
			mask, err = strconv.ParseUint(f.Value, 8, 9)
			r.Umask = uint32(mask)
		case "tty":
			r.TTY, err = strconv.ParseBool(f.Value)
		case "termios":
			r.Termios, err = hex.DecodeString(f.Value)
		case "size":
			_, err = fmt.Sscanf(f.Value, "%d %d %d %d", &r.Rows, &r.Cols, &r.XPixels, &r.YPixels)
		case "limit":
			var l Limit
			_, err = fmt.Sscanf(f.Value, "%d %d %d", &l.Resource, &l.Soft, &l.Hard)
			r.Limits = append(r.Limits, l)
		default:
			err = ErrMalformed
		}
		if err != nil {
			return r, fmt.Errorf("start: field %q: %w", f.Key, ErrMalformed)
		}
	}
	return r, nil
}

// StartedReply is the body of a Started frame. Its descriptors are the terminal's master, if there
// is a terminal, and then the agent's listener, if one was asked for and NoAgent is empty.
type StartedReply struct {
	TTY     string // the terminal's name
	NoAgent string // why there is no agent that was asked for
}

// Pack encodes r. An older berth-session takes one field only, and never asks for an agent.
func (r StartedReply) Pack() []byte {
	fields := []Field{{"tty", r.TTY}}
	if r.NoAgent != "" {
		fields = append(fields, Field{"no-agent", r.NoAgent})
	}
	return Pack(fields)
}

// UnpackStarted decodes it.
func UnpackStarted(body []byte) (StartedReply, error) {
	fields, err := Unpack(body)
	switch {
	case err == nil && len(fields) == 1 && fields[0].Key == "tty":
		return StartedReply{TTY: fields[0].Value}, nil
	case err == nil && len(fields) == 2 && fields[0].Key == "tty" && fields[1].Key == "no-agent":
		return StartedReply{TTY: fields[0].Value, NoAgent: fields[1].Value}, nil
	}
	return StartedReply{}, fmt.Errorf("started: %w", ErrMalformed)
}

// Ending is how the session's first process ended: by a status, or by a
// signal (then Signal is not 0).
type Ending struct {
	Status int
	Signal int
}

// Pack encodes e.
func (e Ending) Pack() []byte {
	return Pack([]Field{{"status", strconv.Itoa(e.Status)}, {"signal", strconv.Itoa(e.Signal)}})
}

// UnpackEnding decodes an Exit body.
func UnpackEnding(body []byte) (Ending, error) {
	var e Ending
	fields, err := Unpack(body)
	if err != nil || len(fields) != 2 || fields[0].Key != "status" || fields[1].Key != "signal" {
		return e, fmt.Errorf("exit: %w", ErrMalformed)
	}
	e.Status, err = strconv.Atoi(fields[0].Value)
	if err == nil {
		e.Signal, err = strconv.Atoi(fields[1].Value)
	}
	if err != nil || e.Status < 0 || e.Status > 255 || e.Signal < 0 || e.Signal > 64 {
		return e, fmt.Errorf("exit: %w", ErrMalformed)
	}
	return e, nil
}

// PackRefusal encodes the body of a Failure frame.
func PackRefusal(r *loginerror.Refusal) []byte {
	return Pack([]Field{{"status", strconv.Itoa(r.Status)}, {"user", r.User}, {"cause", r.Cause.Error()}, {"denied", strconv.FormatBool(r.Denied)}})
}

// UnpackRefusal decodes it. A server of before 0.1 does not say whether it is a denial:
// then it is none. berth-init says in its place who ended the session.
func UnpackRefusal(body []byte) (*loginerror.Refusal, error) {
	fields, err := Unpack(body)
	if err != nil || len(fields) < 3 || len(fields) > 4 {
		return nil, fmt.Errorf("failure: %w", ErrMalformed)
	}
	status, err := strconv.Atoi(fields[0].Value)
	if err != nil || status < 1 || status > 255 {
		return nil, fmt.Errorf("failure: %w", ErrMalformed)
	}
	refusal := &loginerror.Refusal{Status: status, User: fields[1].Value, Cause: errors.New(fields[2].Value)}
	if len(fields) == 4 {
		refusal.Denied = fields[3] == Field{"denied", "true"}
		refusal.Wanted = fields[3] == Field{"ended", "administrator"}
	}
	return refusal, nil
}

// Ask sends a frame and returns the body of the one that is due in answer. Its
// error is a *loginerror.Refusal if the guest said why it cannot.
func (c *Conn) Ask(kind Kind, body []byte, due Kind, fds ...int) ([]byte, error) {
	// A guest that refuses closes its end before it has read everything: its
	// words are worth more than our broken pipe.
	sent := c.Send(kind, body, fds...)
	got, answer, err := c.Recv(MaxReply)
	switch {
	case err != nil && sent != nil:
		return nil, fmt.Errorf("handshake: %w", sent)
	case err != nil:
		return nil, fmt.Errorf("handshake: %w", err)
	case got == Failure:
		refusal, err := UnpackRefusal(answer)
		if err != nil {
			return nil, err
		}
		return nil, refusal
	case got != due:
		return nil, fmt.Errorf("handshake: frame %q where %q is due: %w", got, due, ErrMalformed)
	}
	return answer, nil
}
