// SPDX-License-Identifier: Apache-2.0

// Package paths says where things are inside the container; where they are on the
// host, package policy says. C code has some of both (berth-init/init.h,
// berth-session-exec/prelude.c, pam/berth.h): TestPathsInC compares them.
package paths

const (
	Guest        = "/usr/libexec/berth" // both programs, mounted read-only
	GuestProgram = Guest + "/berth-guest"
	InitProgram  = Guest + "/berth-init"
	ImageNames   = "/usr/share/berth"    // the image's own passwd and group
	Run          = "/run/berth"          // a tmpfs; passwd and group as libc reads them
	Lifeline     = Run + "/lifeline"     // transport exec and auto: the sockets of the engine's sessions
	Names        = Run + "/names"        // records of the users' names, read-only
	Private      = Run + "/private"      // root's alone
	Register     = Private + "/register" // where supervisors tell the keeper of their sessions
	Serve        = Private + "/serve"    // shared with the host; in it are the files below
)

// The names of files in the directory that the container and the host share.
const (
	Socket    = "socket"    // every user of the host may connect
	Control   = "control"   // for root of the host
	Unsettled = "unsettled" // a file that is there while `berth settle` is due
	Lease     = "lease"     // a file that is locked by who wants the container to go on
	Drain     = "drain"     // a file that is there while no session may be opened, and says why
)
