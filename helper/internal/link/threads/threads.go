// SPDX-License-Identifier: Apache-2.0

// Package threads has the Go runtime take its threads early. It makes one when it sees
// fit, and the process dies when the kernel refuses it: because the container is at
// its limit of processes, or the user at theirs.
package threads

import (
	"runtime"
	"sync"
)

// Make makes n threads, which are idle from then on and serve what comes.
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
