// SPDX-License-Identifier: Apache-2.0

// Package process is what berth-session knows of, and does to, its own process.
// Importing it makes the process undumpable, closes what the caller left open
// above the standard files, and takes the caller's GO* variables away, before
// the Go runtime starts (process.c).
package process

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror -O2
#include "process.h"
*/
import "C"

import (
	"os"
	"runtime/debug"
	"syscall"
)

// Umask is the file mode creation mask as the caller had it.
func Umask() uint32 { return uint32(C.berth_process.umask) }

// Limit is a resource limit, its resource's number as setrlimit(2) takes it.
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// Limits are the resource limits as the caller had them.
func Limits() []Limit {
	limits := make([]Limit, 0, len(C.berth_process.limits))
	for i, l := range C.berth_process.limits {
		limits = append(limits, Limit{Resource: i, Soft: uint64(l.rlim_cur), Hard: uint64(l.rlim_max)})
	}
	return limits
}

// DieBy ends this process by the signal that ended the user's program: sshd
// makes an exit-signal of that. It does not return.
func DieBy(sig int) {
	C.berth_die(C.int(sig))
	os.Exit(128 + sig)
}

// GiveWay makes this process the program at path, with the arguments, the
// environment and the limits that it was itself started with. It returns only
// when it fails.
func GiveWay(path string) error {
	core := C.berth_process.limits[syscall.RLIMIT_CORE]
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: uint64(core.rlim_cur), Max: uint64(core.rlim_max)})
	return syscall.Exec(path, append([]string{path}, os.Args[1:]...), os.Environ())
}

// Slim gives back the memory that only the start of a session needs.
func Slim() {
	debug.SetGCPercent(20) // from here on small rather than fast
	debug.FreeOSMemory()
	_ = C.berth_slim()
}
