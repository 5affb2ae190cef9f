// SPDX-License-Identifier: Apache-2.0

// Package place says where the container sees what the host mounts for berth.
// The host's own directories are the policy's to choose.
package place

const (
	Guest    = "/usr/libexec/berth"  // this program, read-only
	Lifeline = "/run/berth/lifeline" // transport docker: the sessions' sockets
	Private  = "/run/berth/private"  // root's alone, inside
	Serve    = Private + "/serve"    // transport direct: the server's socket
	Socket   = "socket"              // its name there
	Names    = "/run/berth/names"    // records of the users' names, and the rules, read-only
)
