// SPDX-License-Identifier: Apache-2.0

// Package atstart keeps what the Go runtime changes about its process before
// main runs. It imports next to nothing, so that it is initialised before
// package os, which raises RLIMIT_NOFILE (os/rlimit.go; packages are initialised
// in the order of the language specification, "Program initialization").
package atstart

import "syscall"

// NoFile is the limit of open files as the caller had it.
var NoFile = func() (limit syscall.Rlimit) {
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return limit
}()
