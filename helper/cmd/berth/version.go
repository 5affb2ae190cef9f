// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
)

// The linker sets them (Makefile): git's words, or those of a build without git.
var version, commit string

// versionLine is berth's version, the commit that it was built from, and the Go
// that built it.
func versionLine() string {
	known := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	return fmt.Sprintf("%s, commit %s, %s", known(version, "(no release)"), known(commit, "unknown"), runtime.Version())
}
