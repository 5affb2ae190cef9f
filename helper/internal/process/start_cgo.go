// SPDX-License-Identifier: Apache-2.0

package process

// Importing this package takes the caller's GO* variables away, and keeps what
// the Go runtime changes, before that starts (start.c).

/*
#cgo CFLAGS: -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2
#include "start.h"
*/
import "C"

// noFile is the soft limit of open files as the caller had it.
func noFile() uint64 { return uint64(C.berth_nofile.rlim_cur) }
