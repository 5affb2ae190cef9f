// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"
)

// Difference is one setting of a container that is not as the policy has it.
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
	if state.Differences, err = e.compare(ctx, p, have); err != nil {
		return state, err
	}
	return state, nil
}

func (e *Engine) compare(ctx context.Context, p policy.Policy, have container.InspectResponse) ([]Difference, error) {
	config, host, err := spec(p)
	if err != nil {
		return nil, err
	}
	image := "(missing) " + p.Container.Image
	if found, err := e.api.ImageInspect(ctx, p.Container.Image); err == nil {
		image = found.ID
	}
	var binds []mount.Mount
	for _, m := range have.Mounts {
		binds = append(binds, mount.Mount{Source: m.Source, Target: m.Destination, ReadOnly: !m.RW})
	}
	want := settings(config, host, host.Mounts, image)
	var differences []Difference
	for key, value := range settings(have.Config, have.HostConfig, binds, have.Image) {
		if value != want[key] {
			differences = append(differences, Difference{key, value, want[key]})
		}
	}
	slices.SortFunc(differences, func(a, b Difference) int { return strings.Compare(a.Key, b.Key) })
	return differences, nil
}

// Create makes and starts the policy's container.
func (e *Engine) Create(ctx context.Context, p policy.Policy) error {
	config, host, err := spec(p)
	if err != nil {
		return err
	}
	created, err := e.api.ContainerCreate(ctx, config, host, nil, nil, p.Container.Name)
	if err != nil {
		return wrap("create the container", err)
	}
	if err := e.api.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		// What cannot be started is not left to be healed by a login.
		return errors.Join(wrap("start the container", err), e.Remove(ctx, created.ID))
	}
	return nil
}

// Probe has berth-guest in a running container say whether a session could be
// started there, and returns its reason if not.
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
		select {
		case <-ctx.Done():
			return wrap("inspect the exec", ctx.Err())
		case <-time.After(pollPause):
		}
	}
}

// pollPause is between two looks at what the engine has no event for.
const pollPause = 20 * time.Millisecond

// Health is how a container that should run does, and the last that it said.
type Health struct {
	Status   string // running, restarting, exited, ... as the engine calls it
	Restarts int
	Words    string // of its log, one line
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
	h.Words = strings.TrimSpace(text.String())
	return h, nil
}

// Start makes an existing container run, as it is.
func (e *Engine) Start(ctx context.Context, name string) error { return e.heal(ctx, name) }

// Remove ends and removes a container; that there is none is no error.
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

// RunCommand is the `docker run` that makes the same container.
func RunCommand(p policy.Policy) []string {
	c := p.Container
	argv := []string{"docker", "run", "--detach", "--init=false", "--userns", usernsMode, "--name", c.Name, "--hostname", c.HostName(), "--user", "0:0", "--workdir", "/",
		"--network", c.Network, "--restart", c.Restart, "--cap-drop", "ALL"}
	for _, capability := range c.Capabilities {
		argv = append(argv, "--cap-add", capability)
	}
	argv = append(argv, "--security-opt", "no-new-privileges")
	if c.Seccomp != "default" {
		argv = append(argv, "--security-opt", "seccomp="+c.Seccomp)
	}
	if c.ReadOnly {
		argv = append(argv, "--read-only")
	}
	for name, value := range sysctls(p) {
		argv = append(argv, "--sysctl", name+"="+value)
	}
	argv = append(argv, "--shm-size", strconv.Itoa(policy.DevShm))
	for _, path := range c.TmpfsPaths() {
		argv = append(argv, "--tmpfs", path+":"+c.Tmpfs[path])
	}
	for _, m := range mounts(p) {
		value := fmt.Sprintf("type=bind,source=%s,target=%s", m.Source, m.Target)
		if m.ReadOnly {
			value += ",readonly"
		}
		argv = append(argv, "--mount", value)
	}
	argv = append(argv, "--pids-limit", fmt.Sprint(c.PidsLimit))
	if c.Memory > 0 {
		argv = append(argv, "--memory", fmt.Sprint(c.Memory), "--memory-swap", fmt.Sprint(c.Memory))
	}
	return append(argv, "--ulimit", fmt.Sprintf("nofile=%d:%d", c.NoFile.Soft, c.NoFile.Hard), "--stop-signal", "SIGTERM", "--stop-timeout", fmt.Sprint(stopTimeout),
		"--no-healthcheck", "--entrypoint", paths.InitProgram, c.Image, command(p))
}
