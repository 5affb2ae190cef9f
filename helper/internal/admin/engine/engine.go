// SPDX-License-Identifier: Apache-2.0

// Package engine talks to the container engine: for a login it starts one
// program in one container, for an administrator it makes the container what
// the policy says. It is the only package that knows Docker's API. Its
// errors wrap the cause, and one of package loginerror where one applies.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"berth/helper/internal/link/loginerror"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// Dial returns a connection to the engine.
type Dial func(ctx context.Context) (net.Conn, error)

// Engine is a client of one container engine.
type Engine struct{ api *client.Client }

// Open returns a client of the engine at socket. With dial it takes its
// connections from there. Nothing is sent yet.
func Open(socket string, dial Dial) (*Engine, error) {
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	transport := &http.Transport{
		// One is enough, and a login has a limited number of them.
		MaxConnsPerHost: 1,
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		// The engine is local: no proxy of the environment has a say.
		Proxy: nil, DisableCompression: true, IdleConnTimeout: time.Minute,
	}
	api, err := client.NewClientWithOpts(client.WithHost("unix://"+socket),
		client.WithHTTPClient(&http.Client{Transport: transport}), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("engine client: %w", err)
	}
	return &Engine{api: api}, nil
}

// Close drops the connections.
func (e *Engine) Close() error { return e.api.Close() }

// Enter starts argv in the container as container root, detached, with nothing
// for its standard input and output. With heal it first starts a container that
// is stopped and unpauses one that is paused. ctx bounds all of it.
func (e *Engine) Enter(ctx context.Context, name string, heal bool, argv []string) error {
	for try := 0; ; try++ {
		_, err := e.exec(ctx, name, argv)
		if !heal || try > 0 || !errors.Is(err, loginerror.ErrNotRunning) && !errors.Is(err, loginerror.ErrPaused) {
			return err
		}
		if err := e.heal(ctx, name); err != nil {
			return err
		}
	}
}

// exec starts argv as Enter does, once, and returns the exec's id.
func (e *Engine) exec(ctx context.Context, name string, argv []string) (string, error) {
	created, err := e.api.ContainerExecCreate(ctx, name, container.ExecOptions{User: "0:0", Cmd: argv})
	if err != nil {
		return "", wrap("create an exec", err)
	}
	if err := e.api.ContainerExecStart(ctx, created.ID, container.ExecStartOptions{Detach: true}); err != nil {
		return "", wrap("start the exec", err)
	}
	return created.ID, nil
}

// heal makes an existing container run. It changes nothing else about it.
func (e *Engine) heal(ctx context.Context, name string) error {
	state, err := e.api.ContainerInspect(ctx, name)
	if err != nil {
		return wrap("inspect the container", err)
	}
	switch {
	case state.State.Paused:
		err = e.api.ContainerUnpause(ctx, name)
	case !state.State.Running:
		err = e.api.ContainerStart(ctx, name, container.StartOptions{})
	}
	// Somebody else may have healed it meanwhile.
	if err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotModified(err) {
		return wrap("heal the container", err)
	}
	return nil
}

// wrap puts the package's own error before the engine's. What the engine says
// in prose has been read in moby, daemon/exec.go and daemon/errors.go.
func wrap(operation string, err error) error {
	text := err.Error()
	var kind error
	switch {
	case client.IsErrConnectionFailed(err), errors.Is(err, context.DeadlineExceeded), isNetwork(err):
		kind = loginerror.ErrUnreachable
	case strings.Contains(text, "is paused"):
		kind = loginerror.ErrPaused
	case strings.Contains(text, "is not running"), strings.Contains(text, "is restarting"):
		kind = loginerror.ErrNotRunning
	case errdefs.IsNotFound(err) && strings.Contains(text, "No such image"):
		kind = loginerror.ErrNoImage
	case errdefs.IsNotFound(err) && strings.Contains(text, "No such container"):
		kind = loginerror.ErrNoContainer
	case strings.Contains(text, "no such file or directory"), strings.Contains(text, "executable file not found"):
		kind = loginerror.ErrNoGuest
	default:
		return fmt.Errorf("%s: %w", operation, err)
	}
	return fmt.Errorf("%s: %w: %w", operation, kind, err)
}

func isNetwork(err error) bool {
	var op net.Error
	return errors.As(err, &op)
}
