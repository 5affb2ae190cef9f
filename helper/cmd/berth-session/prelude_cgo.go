// SPDX-License-Identifier: Apache-2.0

package main

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror -O2
#include "prelude.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"berth/helper/internal/lifeline"
	"berth/helper/internal/transport"
)

// prelude is what the C constructor did and saw (prelude.c). The group is gone
// by the time Go runs.
type prelude struct {
	privileged  bool
	engineErr   error
	lifelineErr error
	group       uint32
	umask       uint32
	limits      []lifeline.Limit
	opened      transport.Opened
}

func readPrelude() prelude {
	c := &C.berth_prelude
	p := prelude{
		privileged: c.privileged != 0, group: uint32(c.group), umask: uint32(c.umask),
		opened: transport.Opened{Listener: int(c.lifeline), Name: C.GoString(&c.name[0])},
	}
	for _, fd := range c.engine {
		if fd >= 0 {
			p.opened.Engine = append(p.opened.Engine, int(fd))
		}
	}
	if c.engine_errno != 0 {
		p.engineErr = fmt.Errorf("connect to the engine: %w", syscall.Errno(c.engine_errno))
	}
	if c.lifeline_errno != 0 {
		p.lifelineErr = fmt.Errorf("lifeline socket: %w", syscall.Errno(c.lifeline_errno))
	}
	for i, l := range c.limits {
		p.limits = append(p.limits, lifeline.Limit{Resource: i, Soft: uint64(l.rlim_cur), Hard: uint64(l.rlim_max)})
	}
	return p
}

// dieBy ends this process by the signal that ended the user's program: sshd
// makes an exit-signal of that (FACTS: sshd passes on what it sees).
func dieBy(sig int) {
	C.berth_die(C.int(sig))
	os.Exit(128 + sig)
}

// slim gives back the memory that only the start of a session needs.
func slim() {
	debug.SetGCPercent(20) // from here on small rather than fast
	debug.FreeOSMemory()
	_ = C.berth_slim()
}
