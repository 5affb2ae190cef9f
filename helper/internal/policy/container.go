// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Container is what `berth up` makes, and which container a login enters.
type Container struct {
	Name         string
	Image        string
	Hostname     string // empty: Name
	Network      string
	ReadOnly     bool
	Capabilities []string
	Seccomp      string // "berth", "engine", or the path of a profile
	AppArmor     string // a profile's name; empty: the engine's own
	Runtime      string // the engine's name for it; empty: the engine's default
	Userns       string
	DNS          []string
	Pull         string
	Tmpfs        map[string]string
	Mounts       []Mount
	PidsLimit    int64
	// UserProcesses is RLIMIT_NPROC of each session (setrlimit(2)).
	UserProcesses int64
	PTYMax        int64    // the most ptys at a time, of all sessions together
	Memory        int64    // bytes; 0: unlimited
	ShmSize       int64    // bytes, of /dev/shm
	CPUs          *float64 // processors; 0: unlimited; nil: nearly all of the host's
	CPUWeight     int64    // cpu.weight of cgroup v2
	NoFile        NoFile
	Restart       string
	Heal          bool
	// The rest is for mode user.
	Idle    time.Duration // so long after the last connection the container ends
	Keep    time.Duration // so long what belongs to a user who does not come back
	Timeout time.Duration // of a login, for its container to be made
}

// Mount is a directory of the host's in the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
	// Propagation says whether what is mounted below Source later appears in the container
	// (mount_namespaces(7)). Empty: it does where the host lets it, unless ReadOnly.
	Propagation string
}

// The values of Mount.Propagation.
const (
	Private = "rprivate" // it does not
	Slave   = "rslave"   // it does
)

// The values of Container.Seccomp that are no path, and of Container.Pull.
const (
	OwnSeccomp    = "berth"
	EngineSeccomp = "engine"

	PullNever   = "never"
	PullMissing = "missing"
)

// NoFile is RLIMIT_NOFILE of the container's processes.
type NoFile struct{ Soft, Hard int64 }

// containerKeys is the table [container]: each key with its field, default and check. A key
// has an entry of the same name in admin/engine (settings.go), and a paragraph in
// berth.toml(5).
var containerKeys = map[string]key{
	"name": text(func(p *Policy) *string { return &p.Container.Name }, "berth",
		`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`, "must be a container's name"),
	"image": text(func(p *Policy) *string { return &p.Container.Image }, "berth:latest",
		`^[a-z0-9][a-zA-Z0-9_./:@-]{0,254}$`, "must be an image's name"),
	"hostname": text(func(p *Policy) *string { return &p.Container.Hostname }, "",
		`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62})$`, "must be a host's name"),
	"network":   newKey(func(p *Policy) *string { return &p.Container.Network }, "none", checkNetwork, noneIfEmpty),
	"read_only": flag(func(p *Policy) *bool { return &p.Container.ReadOnly }, true),
	// Supervisors become users by two of these; the keeper ends what a dead one leaves
	// by the third. Sessions have none.
	"capabilities": newKey(func(p *Policy) *[]string { return &p.Container.Capabilities },
		[]string{"KILL", "SETGID", "SETUID"}, checkCapabilities, asIs),
	"seccomp": withOldValue(newKey(func(p *Policy) *string { return &p.Container.Seccomp }, OwnSeccomp, checkSeccomp, noneIfEmpty),
		"container.seccomp", "default", EngineSeccomp),
	"apparmor": newKey(func(p *Policy) *string { return &p.Container.AppArmor }, "", checkAppArmor, noneIfEmpty),
	"runtime": text(func(p *Policy) *string { return &p.Container.Runtime }, "",
		`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`, "must be the engine's name of a runtime"),
	// With ids of its own the container could tell no user from another.
	"userns": text(func(p *Policy) *string { return &p.Container.Userns }, "host",
		`^host$`, "must be host: with user ids of its own the container could not tell users apart"),
	"dns": newKey(func(p *Policy) *[]string { return &p.Container.DNS }, []string{}, checkDNS, asIs),
	"pull": text(func(p *Policy) *string { return &p.Container.Pull }, PullNever,
		`^(never|missing)$`, "must be never or missing"),
	"tmpfs": newKey(func(p *Policy) *map[string]string { return &p.Container.Tmpfs }, map[string]string{
		"/tmp":     "mode=1777,exec,nosuid,nodev,size=256m",
		"/var/tmp": "mode=1777,exec,nosuid,nodev,size=256m",
		"/run":     "mode=0755,noexec,nosuid,nodev,size=16m",
	}, checkTmpfs, asIs),
	"mount": newKey(func(p *Policy) *[]Mount { return &p.Container.Mounts },
		defaultMounts, checkMounts, showMounts),
	"pids_limit":     number(func(p *Policy) *int64 { return &p.Container.PidsLimit }, 16384, 16, 1<<16),
	"user_processes": number(func(p *Policy) *int64 { return &p.Container.UserProcesses }, 2048, 16, 4<<20),
	"pty_max":        number(func(p *Policy) *int64 { return &p.Container.PTYMax }, defaultPTYMax, 16, 1<<20),
	"memory":         newKey(func(p *Policy) *int64 { return &p.Container.Memory }, 2<<30, checkMemory, showSize),
	"shm_size":       newKey(func(p *Policy) *int64 { return &p.Container.ShmSize }, 64<<20, checkShmSize, showSize),
	"cpus":           newKey(func(p *Policy) **float64 { return &p.Container.CPUs }, nil, checkCPUs, showCPUs),
	"cpu_weight":     number(func(p *Policy) *int64 { return &p.Container.CPUWeight }, 20, 1, 10000),
	"nofile_soft":    number(func(p *Policy) *int64 { return &p.Container.NoFile.Soft }, 1024, 64, 1<<30),
	"nofile_hard":    number(func(p *Policy) *int64 { return &p.Container.NoFile.Hard }, 16384, 64, 1<<30),
	"restart": text(func(p *Policy) *string { return &p.Container.Restart }, defaultRestart,
		`^(always|unless-stopped|on-failure|no)$`, "must be always, unless-stopped, on-failure or no"),
	"heal":    flag(func(p *Policy) *bool { return &p.Container.Heal }, true),
	"idle":    span(func(p *Policy) *time.Duration { return &p.Container.Idle }, 15*time.Minute, time.Second, 30*day),
	"keep":    span(func(p *Policy) *time.Duration { return &p.Container.Keep }, 90*day, day, 3650*day),
	"timeout": duration(func(p *Policy) *time.Duration { return &p.Container.Timeout }, 8*time.Second),
}

// The defaults of mode shared (adoptMode).
const defaultRestart = "always"

// defaultPTYMax is that of mode shared.
const defaultPTYMax = 2048

var defaultMounts = []Mount{{Source: "/home", Target: "/home"}}

// conflicts reports values that are right by themselves and wrong together.
func (c Container) conflicts(report func(key, text string)) {
	// When memory is short, the kernel ends processes. Files would stay, and fill the
	// container.
	if most := c.Memory * 3 / 4; c.Memory > 0 && c.NonProcessMemory() > most {
		report("container.tmpfs", fmt.Sprintf("together with /dev/shm and shared memory may hold %d MiB, which is more than three quarters "+
			"of container.memory: lower the sizes, or raise container.memory", c.NonProcessMemory()>>20))
	}
	if c.NoFile.Soft > c.NoFile.Hard {
		report("container.nofile_soft", "is above container.nofile_hard")
	}
}

// SharedMemory is how much System V shared memory there may be in the container
// (kernel.shmall, sysctl(2)), in bytes. No process is charged for it, so it is kept
// far below what all may have.
func (c Container) SharedMemory() int64 {
	if c.Memory == 0 {
		return 256 << 20
	}
	return min(256<<20, c.Memory/8)
}

// TmpfsPaths lists the tmpfs mount points in order.
func (c Container) TmpfsPaths() []string { return slices.Sorted(maps.Keys(c.Tmpfs)) }

// HostName is the name that the container's users see.
func (c Container) HostName() string {
	if c.Hostname == "" {
		return c.Name
	}
	return c.Hostname
}

// NonProcessMemory is the most memory, in bytes, that the container's users can fill
// without a process that holds it.
func (c Container) NonProcessMemory() int64 {
	total := c.SharedMemory() + c.ShmSize
	for _, options := range c.Tmpfs {
		n, _ := size(sizeOption(options))
		total += n
	}
	return total
}
