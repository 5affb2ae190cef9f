// SPDX-License-Identifier: Apache-2.0

package main

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror -O2
#include "prelude.h"
*/
import "C"

import (
	"fmt"
	"syscall"

	"berth/helper/internal/host/exec"
	"berth/helper/internal/host/identity"
	"berth/helper/internal/link/loginerror"
)

// prelude is what the C constructor did and saw (prelude.c). The group is gone
// by the time Go runs.
type prelude struct {
	group   uint32 // the engine's; identity.NoGroup where there was none
	sockets exec.Sockets
	err     error // why there is nothing to work with
}

func readPrelude() prelude {
	c := &C.berth_prelude
	p := prelude{group: identity.NoGroup, sockets: exec.Sockets{Listener: int(c.lifeline), Name: C.GoString(&c.name[0])}}
	for _, fd := range c.engine {
		if fd >= 0 {
			p.sockets.Engine = append(p.sockets.Engine, int(fd))
		}
	}
	if c.privileged == 0 {
		p.err = loginerror.ErrNotSetgid
		return p
	}
	p.group = uint32(c.group)
	switch {
	case c.engine_errno != 0:
		p.err = fmt.Errorf("%w: connect: %w", loginerror.ErrUnreachable, syscall.Errno(c.engine_errno))
	case c.lifeline_errno != 0:
		p.err = fmt.Errorf("lifeline socket: %w", syscall.Errno(c.lifeline_errno))
	}
	return p
}
