// SPDX-License-Identifier: Apache-2.0

package main

/*
#include <stdlib.h>
#include "selinux.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// labeler returns what gives new files the policy's labels, or nil where there
// is no SELinux. Where it is enforcing, a label that cannot be set is an error:
// a home without it cannot be used.
func labeler(warn func(string)) (func(path string, mode uint32) error, error) {
	state := C.berth_selinux_open()
	if state < 0 {
		return nil, fmt.Errorf("SELinux: %w", syscall.Errno(-state))
	}
	if state == C.BERTH_SELINUX_NONE {
		return nil, nil
	}
	runtime.LockOSThread() // the label is a thread's (proc(5), /proc/self/attr/fscreate)
	return func(path string, mode uint32) error {
		text := C.CString(path)
		defer C.free(unsafe.Pointer(text))
		failed := C.berth_selinux_label(text, C.int(mode))
		if failed == 0 {
			return nil
		}
		err := fmt.Errorf("SELinux: label of %s: %w", path, syscall.Errno(-failed))
		if state == C.BERTH_SELINUX_ENFORCING {
			return err
		}
		warn(err.Error())
		return nil
	}, nil
}
