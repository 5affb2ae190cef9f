// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"
)

// Difference is a setting of the container that differs from the policy.
type Difference struct {
	Key  string `json:"key"`
	Have string `json:"have"`
	Want string `json:"want"`
}

// State is what is known of the container.
type State struct {
	Exists      bool         `json:"exists"`
	Status      string       `json:"status,omitempty"` // running, paused, exited, ... as the engine calls it
	Differences []Difference `json:"differences,omitempty"`
	Engine      string       `json:"engine"` // version
	// LiveRestore is whether containers outlive the engine's own end.
	LiveRestore bool `json:"live_restore"`
}

// Inspect compares the container with the policy.
func (e *Engine) Inspect(ctx context.Context, p policy.Policy) (State, error) {
	c := p.Container
	info, err := e.api.Info(ctx)
	if err != nil {
		return State{}, wrap("ask the engine", err)
	}
	state := State{Engine: info.ServerVersion, LiveRestore: info.LiveRestoreEnabled}
	have, err := e.api.ContainerInspect(ctx, c.Name)
	if err != nil {
		if err = wrap("inspect the container", err); errors.Is(err, loginerror.ErrNoContainer) {
			return state, nil
		}
		return state, err
	}
	state.Exists, state.Status = true, have.State.Status
	if state.Differences, err = e.compare(ctx, p, have, info.DefaultRuntime); err != nil {
		return state, err
	}
	return state, nil
}

func (e *Engine) compare(ctx context.Context, p policy.Policy, have container.InspectResponse, runtime string) ([]Difference, error) {
	want, err := describe(p)
	if err != nil {
		return nil, err
	}
	want.host.Runtime = cmp.Or(want.host.Runtime, runtime)
	want.image = "(missing) " + p.Container.Image
	if found, err := e.api.ImageInspect(ctx, p.Container.Image); err == nil {
		want.image = found.ID
	}
	is := description{config: have.Config, host: have.HostConfig, image: have.Image}
	for _, m := range have.Mounts {
		is.mounts = append(is.mounts, mount.Mount{Source: m.Source, Target: m.Destination, ReadOnly: !m.RW,
			BindOptions: &mount.BindOptions{Propagation: m.Propagation}})
	}
	return differences(is, want), nil
}

// EnsureImage fails if the policy's image is missing. If the policy says so it pulls it. The
// engine asks as nobody: it is told no password.
func (e *Engine) EnsureImage(ctx context.Context, p policy.Policy) error {
	_, err := e.api.ImageInspect(ctx, p.Container.Image)
	if err == nil {
		return nil
	}
	if err = wrap("find the image", err); !errors.Is(err, loginerror.ErrNoImage) || p.Container.Pull != policy.PullMissing {
		return err
	}
	progress, err := e.api.ImagePull(ctx, p.Container.Image, image.PullOptions{})
	if err != nil {
		return wrap("pull the image", err)
	}
	defer progress.Close()
	// The image is there at the answer's end, which may also be an error.
	for messages := json.NewDecoder(progress); ; {
		var message struct{ Error string }
		switch err := messages.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return wrap("pull the image", err)
		case message.Error != "":
			return wrap("pull the image", errors.New(message.Error))
		}
	}
}

// Create makes and starts the policy's container.
func (e *Engine) Create(ctx context.Context, p policy.Policy) error {
	d, err := describe(p)
	if err != nil {
		return err
	}
	created, err := e.api.ContainerCreate(ctx, d.config, d.host, nil, nil, p.Container.Name)
	if err != nil {
		return wrap("create the container", err)
	}
	if err := e.api.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		// Removed, so that no login tries to start it.
		return errors.Join(wrap("start the container", err), e.Remove(ctx, created.ID))
	}
	return nil
}

// Probe asks berth-guest in a running container whether a session could start there. Its
// error is why not.
func (e *Engine) Probe(ctx context.Context, name string) error {
	id, err := e.exec(ctx, name, []string{paths.GuestProgram, "probe"})
	if err != nil {
		return err
	}
	for {
		state, err := e.api.ContainerExecInspect(ctx, id)
		switch {
		case err != nil:
			return wrap("inspect the exec", err)
		case !state.Running && state.ExitCode != 0:
			return fmt.Errorf("berth-guest ends with status %d in the container", state.ExitCode)
		case !state.Running:
			return nil
		}
		if err := pause(ctx); err != nil {
			return wrap("inspect the exec", err)
		}
	}
}

// pollInterval is the time between two looks at something without an event.
const pollInterval = 20 * time.Millisecond

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollInterval):
		return nil
	}
}

// Health is the state of a container that should run.
type Health struct {
	Status   string // running, restarting, exited, ... as the engine calls it
	Restarts int
	LastLog  string // the last line of its log
}

// Health asks how the container is.
func (e *Engine) Health(ctx context.Context, name string) (Health, error) {
	have, err := e.api.ContainerInspect(ctx, name)
	if err != nil {
		return Health{}, wrap("inspect the container", err)
	}
	h := Health{Status: have.State.Status, Restarts: have.RestartCount}
	log, err := e.api.ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "1"})
	if err != nil {
		return h, wrap("read the container's log", err)
	}
	defer log.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, io.LimitReader(log, 64<<10)); err != nil {
		return h, wrap("read the container's log", err)
	}
	h.LastLog = strings.TrimSpace(text.String())
	return h, nil
}

// Start runs an existing container, as it is.
func (e *Engine) Start(ctx context.Context, name string) error { return e.heal(ctx, name) }

// Remove ends and removes a container. A missing one is no error.
func (e *Engine) Remove(ctx context.Context, name string) error {
	grace := stopTimeout
	if err := e.api.ContainerStop(ctx, name, container.StopOptions{Timeout: &grace}); err != nil {
		if err := wrap("stop the container", err); errors.Is(err, loginerror.ErrNoContainer) {
			return nil
		}
	}
	if err := e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true}); err != nil {
		if err := wrap("remove the container", err); !errors.Is(err, loginerror.ErrNoContainer) {
			return err
		}
	}
	return nil
}
