// SPDX-License-Identifier: Apache-2.0

// Package place says where the container sees what the host mounts for berth.
// The host's own directories are the policy's to choose. berth-init has the same
// paths (helper/cmd/berth-init/init.h).
package paths

const (
	Guest     = "/usr/libexec/berth"  // berth-guest and berth-init, read-only
	Lifeline  = "/run/berth/lifeline" // transport exec and auto: the sockets of the engine's sessions
	Private   = "/run/berth/private"  // root's alone, inside
	Serve     = Private + "/serve"    // shared with the host: the three below
	Register  = Private + "/register" // where supervisors tell the keeper of their sessions
	Names     = "/run/berth/names"    // records of the users' names, and the rules, read-only
	Socket    = "socket"              // in Serve: every user's of the host
	Control   = "control"             // in Serve: root's of the host
	Unsettled = "unsettled"           // in Serve: a file that is there until `berth settle` has been
)
