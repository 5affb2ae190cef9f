// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
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

// setting is one property of a container: how the engine is asked for it, how it is read
// from an existing container, and its flags of `docker run`.
type setting struct {
	// name is a key of [container] (policy/container.go). If fixed, no key decides the
	// setting, and the name is the engine's.
	name  string
	fixed bool
	// apply sets it in the description of the container to be made; nil: it needs nothing.
	apply func(policy.Policy, *description)
	// read returns it from a description as text, for comparing two; nil: it is not compared.
	read func(description) string
	// flags returns the flags of `docker run` that ask for the same.
	flags func(policy.Policy) []string
}

// settings has an entry for each key of [container], and for what berth itself decides, in
// the order of RunCommand's flags.
var settings = []setting{
	{name: "init", fixed: true, // berth-init is the first process itself
		apply: func(_ policy.Policy, d *description) { d.host.Init = new(bool) },
		read:  func(d description) string { return strconv.FormatBool(d.host.Init != nil && *d.host.Init) },
		flags: flags("--init=false")},
	{name: "runtime", // the engine's default: compare has its name
		apply: func(p policy.Policy, d *description) { d.host.Runtime = p.Container.Runtime },
		read:  func(d description) string { return d.host.Runtime },
		flags: flagIf("--runtime", func(p policy.Policy) string { return p.Container.Runtime })},
	{name: "userns",
		apply: func(p policy.Policy, d *description) { d.host.UsernsMode = container.UsernsMode(p.Container.Userns) },
		read:  func(d description) string { return string(d.host.UsernsMode) },
		flags: flag("--userns", func(p policy.Policy) string { return p.Container.Userns })},
	{name: "namespaces", fixed: true, // the others: none is the host's
		read: func(d description) string {
			ipc := strings.ReplaceAll(string(d.host.IpcMode), "private", "")
			return string(d.host.PidMode) + string(d.host.UTSMode) + ipc
		}},
	{name: "name", // the container is found by it: nothing to compare
		flags: flag("--name", func(p policy.Policy) string { return p.Container.Name })},
	{name: "hostname",
		apply: func(p policy.Policy, d *description) { d.config.Hostname = p.Container.HostName() },
		read:  func(d description) string { return d.config.Hostname },
		flags: flag("--hostname", func(p policy.Policy) string { return p.Container.HostName() })},
	{name: "user", fixed: true,
		apply: func(_ policy.Policy, d *description) { d.config.User, d.config.WorkingDir = "0:0", "/" },
		read:  func(d description) string { return d.config.User },
		flags: flags("--user", "0:0", "--workdir", "/")},
	{name: "network",
		apply: func(p policy.Policy, d *description) { d.host.NetworkMode = container.NetworkMode(p.Container.Network) },
		read:  func(d description) string { return string(d.host.NetworkMode) },
		flags: flag("--network", func(p policy.Policy) string { return p.Container.Network })},
	{name: "dns",
		apply: func(p policy.Policy, d *description) { d.host.DNS = p.Container.DNS },
		read:  func(d description) string { return cmp.Or(strings.Join(d.host.DNS, " "), "the engine's") },
		flags: func(p policy.Policy) (argv []string) {
			for _, server := range p.Container.DNS {
				argv = append(argv, "--dns", server)
			}
			return argv
		}},
	{name: "restart",
		apply: func(p policy.Policy, d *description) {
			d.host.RestartPolicy.Name = container.RestartPolicyMode(p.Container.Restart)
		},
		read:  func(d description) string { return string(d.host.RestartPolicy.Name) },
		flags: flag("--restart", func(p policy.Policy) string { return p.Container.Restart })},
	{name: "capabilities",
		apply: func(p policy.Policy, d *description) {
			d.host.CapDrop, d.host.CapAdd = []string{"ALL"}, p.Container.Capabilities
		},
		read: func(d description) string {
			var add []string
			for _, capability := range d.host.CapAdd {
				add = append(add, strings.TrimPrefix(capability, "CAP_"))
			}
			return "drop " + joinSorted(d.host.CapDrop) + ", add " + joinSorted(add)
		},
		flags: func(p policy.Policy) []string {
			argv := []string{"--cap-drop", "ALL"}
			for _, capability := range p.Container.Capabilities {
				argv = append(argv, "--cap-add", capability)
			}
			return argv
		}},
	{name: "security", fixed: true, // the options of no key
		apply: func(_ policy.Policy, d *description) {
			d.host.SecurityOpt = append(d.host.SecurityOpt, "no-new-privileges")
		},
		read: func(d description) string {
			hasKey := func(option string) bool {
				return strings.HasPrefix(option, seccompOption) || strings.HasPrefix(option, appArmorOption)
			}
			return joinSorted(slices.DeleteFunc(slices.Clone(d.host.SecurityOpt), hasKey))
		},
		flags: flags("--security-opt", "no-new-privileges")},
	{name: "seccomp",
		apply: applySeccomp,
		read:  func(d description) string { return profileName(securityOption(d, seccompOption)) },
		flags: flagIf("--security-opt", func(p policy.Policy) string {
			switch p.Container.Seccomp {
			case policy.EngineSeccomp:
				return ""
			case policy.OwnSeccomp:
				return seccompOption + installedProfile
			}
			return seccompOption + p.Container.Seccomp
		})},
	{name: "apparmor",
		apply: applyAppArmor,
		read:  func(d description) string { return cmp.Or(securityOption(d, appArmorOption), "the engine's") },
		flags: flagIf("--security-opt", func(p policy.Policy) string {
			if p.Container.AppArmor == "" {
				return ""
			}
			return appArmorOption + p.Container.AppArmor
		})},
	{name: "read_only",
		apply: func(p policy.Policy, d *description) { d.host.ReadonlyRootfs = p.Container.ReadOnly },
		read:  func(d description) string { return strconv.FormatBool(d.host.ReadonlyRootfs) },
		flags: func(p policy.Policy) []string {
			if !p.Container.ReadOnly {
				return nil
			}
			return []string{"--read-only"}
		}},
	{name: "sysctls", fixed: true, // they limit memory that belongs to no process
		apply: func(p policy.Policy, d *description) { d.host.Sysctls = map[string]string{shmAll: sharedPages(p)} },
		read: func(d description) string {
			others := maps.Clone(d.host.Sysctls)
			delete(others, noLoopback6)
			delete(others, lowestPort)
			return joinTable(others)
		},
		flags: flag("--sysctl", func(p policy.Policy) string { return shmAll + "=" + sharedPages(p) })},
	// As on a host, only root may listen below this: a user who had the port of a name server could answer the
	// others' look-ups.
	// In a container of one's own they may stay the user's, as the engine has it. Not compared, like the next one.
	{name: "ports", fixed: true,
		apply: func(p policy.Policy, d *description) {
			if p.Mode == policy.Shared {
				d.host.Sysctls[lowestPort] = "1024"
			}
		},
		flags: flagIf("--sysctl", func(p policy.Policy) string {
			if p.Mode != policy.Shared {
				return ""
			}
			return lowestPort + "=1024"
		})},
	// Without a network the engine turns IPv6 off, and ::1 with it. Not compared: ending all sessions is
	// too much for a container that lacks it.
	{name: "loopback", fixed: true,
		apply: func(p policy.Policy, d *description) {
			if wantsLoopback6(p) {
				d.host.Sysctls[noLoopback6] = "0"
			}
		},
		flags: flagIf("--sysctl", func(p policy.Policy) string {
			if !wantsLoopback6(p) {
				return ""
			}
			return noLoopback6 + "=0"
		})},
	{name: "shm_size",
		apply: func(p policy.Policy, d *description) { d.host.ShmSize = p.Container.ShmSize },
		read:  func(d description) string { return strconv.FormatInt(d.host.ShmSize, 10) },
		flags: flag("--shm-size", func(p policy.Policy) string { return strconv.FormatInt(p.Container.ShmSize, 10) })},
	{name: "tmpfs",
		apply: func(p policy.Policy, d *description) { d.host.Tmpfs = p.Container.Tmpfs },
		read:  func(d description) string { return joinTable(d.host.Tmpfs) },
		flags: func(p policy.Policy) []string {
			var argv []string
			for _, path := range p.Container.TmpfsPaths() {
				argv = append(argv, "--tmpfs", path+":"+p.Container.Tmpfs[path])
			}
			return argv
		}},
	{name: "mount", // includes berth's own
		apply: func(p policy.Policy, d *description) { d.mounts = bindMounts(p); d.host.Mounts = d.mounts },
		read: func(d description) string {
			var lines []string
			for _, m := range d.mounts {
				mode := "rw"
				if m.ReadOnly {
					mode = "ro"
				}
				lines = append(lines, strings.Join([]string{m.Source, m.Target, mode, string(m.BindOptions.Propagation)}, ":"))
			}
			return joinSorted(lines)
		},
		flags: func(p policy.Policy) []string {
			var argv []string
			for _, m := range bindMounts(p) {
				value := fmt.Sprintf("type=bind,source=%s,target=%s", m.Source, m.Target)
				if m.ReadOnly {
					value += ",readonly"
				}
				if m.BindOptions.Propagation != mount.PropagationRPrivate {
					value += ",bind-propagation=" + string(m.BindOptions.Propagation)
				}
				argv = append(argv, "--mount", value)
			}
			return argv
		}},
	{name: "pids_limit",
		apply: func(p policy.Policy, d *description) { d.host.PidsLimit = &p.Container.PidsLimit },
		read: func(d description) string {
			if d.host.PidsLimit == nil {
				return "none"
			}
			return strconv.FormatInt(*d.host.PidsLimit, 10)
		},
		flags: flag("--pids-limit", func(p policy.Policy) string { return strconv.FormatInt(p.Container.PidsLimit, 10) })},
	{name: "cpus",
		apply: func(p policy.Policy, d *description) { d.host.NanoCPUs = nanoCPUs(p) },
		read:  func(d description) string { return showCPUs(d.host.NanoCPUs) },
		flags: flagIf("--cpus", func(p policy.Policy) string {
			if nanoCPUs(p) == 0 {
				return ""
			}
			return showCPUs(nanoCPUs(p))
		})},
	{name: "cpu_weight",
		apply: func(p policy.Policy, d *description) { d.host.CPUShares = cpuShares(p.Container.CPUWeight) },
		read:  func(d description) string { return strconv.FormatInt(cpuWeight(d.host.CPUShares), 10) },
		flags: flagIf("--cpu-shares", func(p policy.Policy) string {
			if p.Container.CPUWeight == usualWeight {
				return ""
			}
			return strconv.FormatInt(cpuShares(p.Container.CPUWeight), 10)
		})},
	{name: "memory", // swap included
		apply: func(p policy.Policy, d *description) {
			d.host.Memory, d.host.MemorySwap = p.Container.Memory, p.Container.Memory
		},
		read: func(d description) string { return strconv.FormatInt(d.host.Memory, 10) },
		flags: func(p policy.Policy) []string {
			if p.Container.Memory == 0 {
				return nil
			}
			bytes := strconv.FormatInt(p.Container.Memory, 10)
			return []string{"--memory", bytes, "--memory-swap", bytes}
		}},
	{name: "nofile_soft", // the flag is for both
		apply: func(p policy.Policy, d *description) {
			limits := container.Ulimit{Name: openFiles, Soft: p.Container.NoFile.Soft, Hard: p.Container.NoFile.Hard}
			d.host.Ulimits = append(d.host.Ulimits, &limits)
		},
		read: func(d description) string { return readUlimit(d, func(u *container.Ulimit) int64 { return u.Soft }) },
		flags: flag("--ulimit", func(p policy.Policy) string {
			return fmt.Sprintf("%s=%d:%d", openFiles, p.Container.NoFile.Soft, p.Container.NoFile.Hard)
		})},
	{name: "nofile_hard",
		read: func(d description) string { return readUlimit(d, func(u *container.Ulimit) int64 { return u.Hard }) }},
	{name: "ulimits", fixed: true, // the limits of no key: there should be none
		read: func(d description) string {
			var others []string
			for _, u := range d.host.Ulimits {
				if u.Name != openFiles {
					others = append(others, fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
				}
			}
			return joinSorted(others)
		}},
	{name: "stop", fixed: true, // not compared: it matters at the container's end alone
		apply: func(_ policy.Policy, d *description) {
			timeout := stopTimeout
			d.config.StopSignal, d.config.StopTimeout = stopSignal, &timeout
		},
		flags: flags("--stop-signal", stopSignal, "--stop-timeout", strconv.Itoa(stopTimeout))},
	{name: "health", fixed: true, // not compared: `berth status` does not use it
		apply: func(_ policy.Policy, d *description) {
			d.config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		},
		flags: flags("--no-healthcheck")},
	{name: "command", fixed: true, // RunCommand appends the argument
		apply: func(p policy.Policy, d *description) {
			d.config.Entrypoint, d.config.Cmd = []string{entrypoint}, []string{command(p)}
		},
		read:  func(d description) string { return strings.Join(slices.Concat(d.config.Entrypoint, d.config.Cmd), " ") },
		flags: flags("--entrypoint", entrypoint)},
	{name: "labels", fixed: true, // not compared: they say what the other settings come from
		apply: func(p policy.Policy, d *description) { d.config.Labels = labels(p) },
		flags: func(p policy.Policy) []string {
			var argv []string
			for _, name := range slices.Sorted(maps.Keys(labels(p))) {
				argv = append(argv, "--label", name+"="+labels(p)[name])
			}
			return argv
		}},
	{name: "pull", // not of the container; EnsureImage obeys it
		flags: flag("--pull", func(p policy.Policy) string { return p.Container.Pull })},
	{name: "image", // no flag: RunCommand appends it
		apply: func(p policy.Policy, d *description) { d.config.Image = p.Container.Image },
		read:  func(d description) string { return d.image }},

	// Never asked for; compared, so that `berth up` reports a container that has them.
	{name: "privileged", fixed: true, read: func(d description) string { return strconv.FormatBool(d.host.Privileged) }},
	{name: "devices", fixed: true, read: func(d description) string {
		return strconv.Itoa(len(d.host.Devices) + len(d.host.DeviceRequests) + len(d.host.DeviceCgroupRules))
	}},

	// The engine has no part in these.
	{name: "user_processes"}, // a rule (package rules)
	{name: "pty_max"},        // `berth settle`
	{name: "heal"},           // of a login by exec
	{name: "idle"},           // a rule
	{name: "keep"},           // `berth gc`
	{name: "timeout"},        // `berth prepare`
}

const (
	entrypoint = paths.InitProgram
	shmAll     = "kernel.shmall" // System V shared memory of the whole container, in pages
	openFiles  = "nofile"        // of --ulimit
	// 1 where there is no address ::1.
	noLoopback6 = "net.ipv6.conf.lo.disable_ipv6"
	lowestPort  = "net.ipv4.ip_unprivileged_port_start"
	// At SIGTERM the first process hangs the sessions up, and ends after 4 s at the latest;
	// the time is in seconds.
	stopSignal  = "SIGTERM"
	stopTimeout = 5
)

// flags returns the same flags for each policy.
func flags(argv ...string) func(policy.Policy) []string {
	return func(policy.Policy) []string { return argv }
}

// flag returns a flag with its value.
func flag(name string, value func(policy.Policy) string) func(policy.Policy) []string {
	return func(p policy.Policy) []string { return []string{name, value(p)} }
}

// flagIf returns a flag with its value, and none without a value.
func flagIf(name string, value func(policy.Policy) string) func(policy.Policy) []string {
	return func(p policy.Policy) []string {
		if value(p) == "" {
			return nil
		}
		return []string{name, value(p)}
	}
}

// sharedPages is how much System V shared memory there may be, in pages.
func sharedPages(p policy.Policy) string {
	return strconv.FormatInt(p.Container.SharedMemory()/int64(os.Getpagesize()), 10)
}

// wantsLoopback6 reports whether the container gets ::1 by berth. A kernel without IPv6 has no such setting, and
// the engine would not start the container.
func wantsLoopback6(p policy.Policy) bool {
	_, err := os.Stat("/proc/sys/" + strings.ReplaceAll(noLoopback6, ".", "/"))
	return p.Container.Network == "none" && err == nil
}

// readUlimit returns a limit of open files, or nothing if the container has none.
func readUlimit(d description, limit func(*container.Ulimit) int64) string {
	for _, u := range d.host.Ulimits {
		if u.Name == openFiles {
			return strconv.FormatInt(limit(u), 10)
		}
	}
	return ""
}

func joinSorted(items []string) string {
	items = slices.Clone(items)
	slices.Sort(items)
	return strings.Join(items, " ")
}

func joinTable(t map[string]string) string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(t)) {
		lines = append(lines, key+":"+t[key])
	}
	return strings.Join(lines, " ")
}
