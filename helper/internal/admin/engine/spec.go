// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// stopTimeout is how long `docker stop` waits, in seconds. It should not be needed: at
// SIGTERM the first process hangs the sessions up, and ends after 4 s at the latest.
const stopTimeout = 5

// spec is a policy's container in the API's terms.
func spec(p policy.Policy) (*container.Config, *container.HostConfig, error) {
	c := p.Container
	profile, err := seccomp(c.Seccomp)
	if err != nil {
		return nil, nil, err
	}
	no, stop := false, stopTimeout
	config := &container.Config{
		Image: c.Image, Hostname: c.HostName(), User: "0:0", WorkingDir: "/",
		Entrypoint: []string{paths.InitProgram}, Cmd: []string{command(p)},
		StopSignal: "SIGTERM", StopTimeout: &stop,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode(c.Network), RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(c.Restart)},
		CapDrop: []string{"ALL"}, CapAdd: c.Capabilities, ReadonlyRootfs: c.ReadOnly,
		// berth-init is the first process itself, and must be root as the host knows it:
		// with other ids nobody could be told from anybody.
		Init: &no, UsernsMode: usernsMode, Sysctls: sysctls(p), ShmSize: policy.DevShm,
		SecurityOpt: append([]string{"no-new-privileges"}, profile...),
		Tmpfs:       c.Tmpfs, Mounts: mounts(p),
		Resources: container.Resources{
			PidsLimit: &c.PidsLimit, Memory: c.Memory, MemorySwap: c.Memory,
			Ulimits: []*container.Ulimit{{Name: "nofile", Soft: c.NoFile.Soft, Hard: c.NoFile.Hard}},
		},
	}
	return config, host, nil
}

// usernsMode is what the engine calls the absence of a user namespace of its own.
const usernsMode = "host"

// sysctls bound what belongs to no process.
func sysctls(p policy.Policy) map[string]string {
	return map[string]string{"kernel.shmall": strconv.FormatInt(p.Container.SharedMemory()/int64(os.Getpagesize()), 10)}
}

// command is what the container's main process does.
func command(p policy.Policy) string {
	if p.Transport == policy.Exec {
		return "idle"
	}
	return "serve"
}

// mounts are what each transport needs, and the policy's own.
func mounts(p policy.Policy) []mount.Mount {
	list := []mount.Mount{{Type: mount.TypeBind, Source: p.Sources.Guest, Target: paths.Guest, ReadOnly: true}}
	if p.Transport != policy.Direct {
		list = append(list, mount.Mount{Type: mount.TypeBind, Source: p.Sources.Lifeline, Target: paths.Lifeline})
	}
	list = append(list,
		mount.Mount{Type: mount.TypeBind, Source: p.Sources.Serve, Target: paths.Serve},
		mount.Mount{Type: mount.TypeBind, Source: p.Sources.Names, Target: paths.Names, ReadOnly: true})
	for _, m := range p.Container.Mounts {
		list = append(list, mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return list
}

// seccomp returns the security option for a profile; the engine's own needs
// none.
func seccomp(profile string) ([]string, error) {
	if profile == "default" {
		return nil, nil
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return nil, fmt.Errorf("container.seccomp: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, fmt.Errorf("container.seccomp: %s is not JSON: %w", profile, err)
	}
	return []string{"seccomp=" + compact.String()}, nil
}

// settings describes a container by what a policy decides about it, in words
// that two containers can be compared by.
func settings(config *container.Config, host *container.HostConfig, binds []mount.Mount, image string) map[string]string {
	limits := []string{}
	for _, u := range host.Ulimits {
		limits = append(limits, fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	return map[string]string{
		"image":        image,
		"hostname":     config.Hostname,
		"network":      string(host.NetworkMode),
		"read_only":    strconv.FormatBool(host.ReadonlyRootfs),
		"capabilities": "drop " + list(host.CapDrop) + ", add " + list(bare(host.CapAdd)),
		"security":     list(host.SecurityOpt),
		"tmpfs":        table(host.Tmpfs),
		"mounts":       mountList(binds),
		"pids_limit":   number(host.PidsLimit),
		"memory":       strconv.FormatInt(host.Memory, 10),
		"nofile":       list(limits),
		"restart":      string(host.RestartPolicy.Name),
		"init":         strconv.FormatBool(host.Init != nil && *host.Init),
		"command":      strings.Join(append(slices.Clone(config.Entrypoint), config.Cmd...), " "),
		"user":         config.User,
		"sysctls":      table(host.Sysctls),
		"shm_size":     strconv.FormatInt(host.ShmSize, 10),
		// Never part of a policy; here to be seen when they are set.
		"privileged": strconv.FormatBool(host.Privileged),
		"namespaces": string(host.PidMode) + string(host.UTSMode) + string(host.UsernsMode) + strings.ReplaceAll(string(host.IpcMode), "private", ""),
		"devices":    fmt.Sprint(len(host.Devices) + len(host.DeviceRequests) + len(host.DeviceCgroupRules)),
	}
}

func bare(capabilities []string) []string {
	var out []string
	for _, c := range capabilities {
		out = append(out, strings.TrimPrefix(c, "CAP_"))
	}
	return out
}

func list(items []string) string {
	items = slices.Clone(items)
	slices.Sort(items)
	return strings.Join(items, " ")
}

func table(t map[string]string) string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(t)) {
		lines = append(lines, key+":"+t[key])
	}
	return strings.Join(lines, " ")
}

func number(n *int64) string {
	if n == nil {
		return "none"
	}
	return strconv.FormatInt(*n, 10)
}

func mountList(binds []mount.Mount) string {
	var lines []string
	for _, m := range binds {
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		lines = append(lines, m.Source+":"+m.Target+":"+mode)
	}
	return list(lines)
}
