// SPDX-License-Identifier: Apache-2.0

//go:build coverage

// Package coverage has the programs that `make cover` builds say which of their
// lines ran. They get no GOCOVERDIR from whoever starts them: sshd, PAM and the
// keeper pass no environment on. A normal build has nothing of it (off.go).
package coverage

import (
	"os"
	"runtime/coverage"
)

// dirs are where the profiles go. A lab has the first, on its host and in its
// container alike (scripts/lab-inside). What is written to the second is nobody's.
var dirs = []string{"/home/.cover", "/tmp"}

// Go's own hook looks for the variable when main is initialized, which is after this.
func init() { _ = os.Setenv("GOCOVERDIR", dir()) }

func dir() string {
	for _, dir := range dirs {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return dir
		}
	}
	return "/"
}

// Flush writes the profile now: this process is about to end, or to become another
// program, in a way that Go does not see.
func Flush() { _ = coverage.WriteCountersDir(dir()) }
