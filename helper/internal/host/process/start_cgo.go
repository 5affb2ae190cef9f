// SPDX-License-Identifier: Apache-2.0

package process

// Importing this package takes the caller's GO* variables away, keeps its limits,
// which are raised, and refuses a session that the Go runtime could not start
// under, before that starts (start.c).

/*
#cgo CFLAGS: -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2
#cgo LDFLAGS: -Wl,--wrap=pthread_create
#include <stdlib.h>
#include "start.h"
*/
import "C"

import (
	"unsafe"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/sessionlog"
)

// NoteSession keeps what start.c needs to write the session's end.
func NoteSession(id, file string, p sessionlog.Progress) {
	cid, cfile := C.CString(id), C.CString(file)
	C.berth_session(cid, cfile, C.enum_berth_progress(p))
	C.free(unsafe.Pointer(cid))
	C.free(unsafe.Pointer(cfile))
}

// callersLimits are the limits as the caller had them.
func callersLimits() []lifeline.Limit {
	var limits []lifeline.Limit
	for i, l := range C.berth_limits {
		limits = append(limits, lifeline.Limit{Resource: i, Soft: uint64(l.rlim_cur), Hard: uint64(l.rlim_max)})
	}
	return limits
}

// hasLowLimits is whether a limit of the caller's may come to be felt.
func hasLowLimits() bool { return C.berth_low_limits != 0 }

// restoreLimits fails only where a limit was lowered meanwhile, which nobody does.
func restoreLimits() { _ = C.berth_restore_limits() }

// relro is the memory that the loader wrote before it became read-only.
func relro() (from, to uintptr) {
	r := C.berth_relro()
	return uintptr(r.from), uintptr(r.to)
}
