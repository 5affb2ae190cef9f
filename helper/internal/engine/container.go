// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"berth/helper/internal/fault"
	"berth/helper/internal/place"
	"berth/helper/internal/policy"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
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
	Sessions    int          `json:"sessions"`
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
		if err = wrap("inspect the container", err); errors.Is(err, fault.ErrNoContainer) {
			return state, nil
		}
		return state, err
	}
	state.Exists, state.Status = true, have.State.Status
	if state.Differences, err = e.compare(ctx, p, have); err != nil {
		return state, err
	}
	if have.State.Running {
		state.Sessions, err = e.sessions(ctx, c.Name)
	}
	return state, err
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

// sessions counts the guests by what the host's ps shows.
func (e *Engine) sessions(ctx context.Context, name string) (int, error) {
	top, err := e.api.ContainerTop(ctx, name, []string{"-eo", "pid,uid,args"})
	if err != nil {
		return 0, wrap("list the container's processes", err)
	}
	n := 0
	for _, process := range top.Processes {
		// Root's wait for a session.
		if len(process) == 3 && process[1] != "0" && strings.HasPrefix(process[2], place.Guest+"/berth-enter session ") {
			n++
		}
	}
	return n, nil
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

// Renew has a container that serves sessions take up new rules, and the
// berth-enter that is installed now; its sessions go on (package serve).
func (e *Engine) Renew(ctx context.Context, name string) error {
	if err := e.api.ContainerKill(ctx, name, "HUP"); err != nil {
		return wrap("tell the container", err)
	}
	return nil
}

// Start makes an existing container run, as it is.
func (e *Engine) Start(ctx context.Context, name string) error { return e.heal(ctx, name) }

// Remove ends and removes a container; that there is none is no error.
func (e *Engine) Remove(ctx context.Context, name string) error {
	grace := stopTimeout
	if err := e.api.ContainerStop(ctx, name, container.StopOptions{Timeout: &grace}); err != nil {
		if err := wrap("stop the container", err); errors.Is(err, fault.ErrNoContainer) {
			return nil
		}
	}
	if err := e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true}); err != nil {
		if err := wrap("remove the container", err); !errors.Is(err, fault.ErrNoContainer) {
			return err
		}
	}
	return nil
}

// RunCommand is the `docker run` that makes the same container.
func RunCommand(p policy.Policy) []string {
	c := p.Container
	argv := []string{"docker", "run", "--detach", "--init", "--name", c.Name, "--hostname", c.HostName(), "--user", "0:0", "--workdir", "/",
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
		"--no-healthcheck", "--entrypoint", place.Guest+"/berth-enter", c.Image, command(p))
}
