// SPDX-License-Identifier: Apache-2.0

// Package server is what stands between a caller and a supervisor. The server
// (Serve) asks the kernel who calls and hands the connection to one of the
// supervisors (package supervisor) that the spawner (Spawn) has started. berth-init, the
// container's first process, starts both. They are container root and read no byte
// that a caller sent.
package server

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// gcPercent has the heap collected at 800 KiB, where Go's default is 4 MiB (package runtime,
// GOGC): these processes live for months and do little at a time.
const gcPercent = 20

// programPath is the path of this program: the name that it was started by while that is
// still this very file, which is what ps shows; else the file itself.
func programPath() string {
	const self = "/proc/self/exe"
	var named, running unix.Stat_t
	if filepath.IsAbs(os.Args[0]) && unix.Stat(os.Args[0], &named) == nil && unix.Stat(self, &running) == nil &&
		named.Dev == running.Dev && named.Ino == running.Ino {
		return os.Args[0]
	}
	return self
}

// newLogger returns what writes lines to out, and drops those that come while too
// many wait: nobody waits for a log, whose reader may be stopped.
func newLogger(out io.Writer) func(format string, args ...any) {
	queue := make(chan string, 256)
	go func() {
		for line := range queue {
			fmt.Fprintln(out, "berth-guest: "+line)
		}
	}()
	return func(format string, args ...any) {
		select {
		case queue <- fmt.Sprintf(format, args...):
		default:
		}
	}
}

// stderr is what `docker logs` shows; the engine reads it, while it runs.
var stderr = sync.OnceValue(func() func(string, ...any) { return newLogger(os.Stderr) })

func logf(format string, args ...any) { stderr()(format, args...) }
