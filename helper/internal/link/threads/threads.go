// SPDX-License-Identifier: Apache-2.0

// Package threads is about the threads that the Go runtime makes when it sees fit.
package threads

import (
	"runtime"
	"sync"
)

// Make makes n threads, which are idle from then on and serve what comes. Without it the process
// dies when the kernel refuses one later: because the container is at its limit of processes, or
// the user at theirs.
func Make(n int) {
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			all.Done()
			all.Wait()
			runtime.UnlockOSThread() // back to the idle ones
		})
	}
	done.Wait()
}

// Apart runs do on a thread that goes wherever do takes it, into another namespace for example, and
// ends with it. Go only puts the process's first thread to sleep, for good: what asks the kernel
// about this process must not ask about that one (/proc/self), but about /proc/thread-self.
func Apart(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- do()
	}()
	return <-done
}
