// SPDX-License-Identifier: Apache-2.0

// Package policy is berth.toml: what an administrator decides. It is strict,
// reports every problem at once, and knows no engine. The manual page
// berth.toml(5) is its reference.
package policy

import (
	"maps"
	"time"

	"berth/helper/internal/link/paths"
)

// Path is where the configuration is. No argument or variable of berth-session
// moves it.
const Path = "/etc/berth/berth.toml"

// What a login finds on the host, whatever the policy says: no byte is read to
// find it. `berth up` makes them agree with the policy.
const (
	EngineLink  = "/etc/berth/engine.sock"
	ServeDir    = "/var/lib/berth/serve" // where the container makes its sockets
	ServeSocket = ServeDir + "/" + paths.Socket
	NamesDir    = "/var/lib/berth/names"    // what pam_berth.so records, and the rules that sessions go by
	LifelineDir = "/var/lib/berth/lifeline" // the sockets of transport exec's sessions
)

// The ways to the container.
const (
	Auto   = "auto"   // direct where the container serves sessions, else exec
	Direct = "direct" // by the socket that the container serves
	Exec   = "exec"   // by an exec of the engine's
)

// Policy is a whole configuration.
type Policy struct {
	Transport string
	Engine    Engine
	Container Container
	Session   Session
	Users     Users
	Sources   Sources // no key of the file
	// Renamed says which values of the file have another name now.
	Renamed []string
}

// Engine is where the container engine is and how long a login waits for it.
type Engine struct {
	Socket  string
	Timeout time.Duration
}

// Container is what `berth up` makes, and which container a login enters.
type Container struct {
	Name         string
	Image        string
	Hostname     string // empty: Name
	Network      string
	ReadOnly     bool
	Capabilities []string
	Seccomp      string // "default", or the path of a profile
	Tmpfs        map[string]string
	Mounts       []Mount
	PidsLimit    int64
	// UserProcesses is RLIMIT_NPROC of each session (setrlimit(2)).
	UserProcesses int64
	Terminals     int64 // the most ptys at a time, of all sessions together
	Memory        int64 // bytes; 0: unlimited
	NoFile        NoFile
	Restart       string
	Heal          bool
}

// Sources are the host's directories that berth itself has mounted into the
// container, as the engine sees them. They follow from where berth is installed,
// and from the constants above (cmd/berth, sources).
type Sources struct{ Guest, Lifeline, Serve, Names string }

// Mount is a directory of the host's in the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// NoFile is RLIMIT_NOFILE of the container's processes.
type NoFile struct{ Soft, Hard int64 }

// Session is what a login gets.
type Session struct {
	Shell      string
	Path       string
	Umask      *uint32 // nil: the host session's
	SetEnv     map[string]string
	AcceptEnv  []string
	SFTPServer string // empty: looked for in the usual places
	Linger     bool
	Timeout    time.Duration
	Limit      int64 // of one user's sessions at a time
}

// Users says which uids may log in.
type Users struct{ UIDMin, UIDMax uint32 }

// Default is the policy of an empty file.
func Default() Policy {
	return Policy{
		Transport: Auto,
		Engine:    Engine{Socket: "/run/docker.sock", Timeout: 10 * time.Second},
		Container: Container{
			Name: "berth", Image: "berth:latest", Network: "none", ReadOnly: true, Seccomp: "default",
			// Supervisors become users by two of these; the keeper ends what a dead
			// one leaves by the third. Sessions have none.
			Capabilities: []string{"KILL", "SETGID", "SETUID"},
			Tmpfs: map[string]string{
				"/tmp":     "mode=1777,exec,nosuid,nodev,size=256m",
				"/var/tmp": "mode=1777,exec,nosuid,nodev,size=256m",
				"/run":     "mode=0755,noexec,nosuid,nodev,size=16m",
			},
			Mounts:    []Mount{{Source: "/home", Target: "/home"}},
			PidsLimit: 16384, UserProcesses: 2048, Terminals: 2048, Memory: 2 << 30, NoFile: NoFile{1024, 16384}, Restart: "always", Heal: true,
		},
		Session: Session{
			Shell: "/bin/bash", Path: "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games", Timeout: 10 * time.Second,
			SetEnv: map[string]string{}, Limit: 100,
		},
		// login.defs' 60000 would keep most directory servers' users out.
		Users:   Users{UIDMin: 1000, UIDMax: 1<<31 - 1},
		Sources: Sources{Guest: paths.Guest + "/guest", Lifeline: LifelineDir, Serve: ServeDir, Names: NamesDir},
	}
}

// DevShm is the size of the container's /dev/shm in bytes: the engine's own default.
const DevShm = 64 << 20

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
func (c Container) TmpfsPaths() []string { return sorted(maps.Keys(c.Tmpfs)) }

// HostName is the name that the container's users see.
func (c Container) HostName() string {
	if c.Hostname == "" {
		return c.Name
	}
	return c.Hostname
}
