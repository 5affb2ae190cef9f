// SPDX-License-Identifier: Apache-2.0

// berth-enter is berth inside the container: `berth-enter session NAME` is one
// session's first process there, `berth-enter idle` what keeps the container
// alive. It is a static program, mounted read-only; it takes nothing from its
// environment.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"berth/helper/internal/guest"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	// The parent-death signal of the session's program follows the thread that
	// forked it (prctl(2), PR_SET_PDEATHSIG): let it be the one that lives as
	// long as the process.
	runtime.LockOSThread()
	switch {
	case len(args) == 1 && args[0] == "idle":
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
		<-end
		return 0
	case len(args) == 2 && args[0] == "session":
		// The session's processes are hung up by us, not along with us.
		// Caught, not ignored: what is ignored stays so in the children (execve(2)).
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTERM)
		warm()
		if err := guest.Session(args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "berth-enter:", err)
			return 1
		}
		return 0
	}
	fmt.Fprintln(os.Stderr, "usage: berth-enter idle | session NAME")
	return 2
}

// warm makes the threads that a session may come to need. A container at its
// limit of processes refuses new ones, and the Go runtime dies of that; but
// just then (a fork bomb) the session must be ended by this process.
func warm() {
	const threads = 6
	var all, done sync.WaitGroup
	all.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			all.Done()
			all.Wait()
			runtime.UnlockOSThread() // back to the idle ones
		})
	}
	done.Wait()
}
