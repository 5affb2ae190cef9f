// SPDX-License-Identifier: Apache-2.0

// berth-enter is berth inside the container. `berth-enter serve` is its main
// process, which starts `berth-enter server`, which starts `berth-enter session -`
// for each session; `berth-enter end` clears up after a session whose supervisor
// was killed. With the exec transport alone `berth-enter idle` keeps the container
// alive, and the engine starts `berth-enter session NAME`. It is a static program,
// mounted read-only; it takes nothing from its environment.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"berth/helper/internal/guest"
	"berth/helper/internal/rules"
	"berth/helper/internal/serve"
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
	case len(args) == 1 && args[0] == "serve":
		return status(serve.Keep())
	case len(args) == 2 && args[0] == "serve":
		return status(serve.Resume(args[1]))
	case len(args) > 1 && args[0] == "server":
		return status(serve.Serve(args[1:]))
	case len(args) > 1 && args[0] == "end":
		return status(serve.End(args[1:]))
	case len(args) > 1 && args[0] == "session":
		return status(session(args[1], args[2:]))
	}
	fmt.Fprintln(os.Stderr, "usage: berth-enter serve | idle | session NAME")
	return 2
}

func status(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth-enter:", err)
		return 1
	}
	return 0
}

// session supervises one session: the one whose lifeline is called name, or,
// with name "-", the one that the server hands over by descriptor 3.
func session(name string, words []string) error {
	// The session's processes are hung up by us, not along with us. Caught, not
	// ignored: what is ignored stays so in the children (execve(2)).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTERM)
	warm()
	if name != "-" {
		return guest.Call(name)
	}
	r, err := rules.Parse(words)
	if err != nil {
		return err
	}
	syscall.CloseOnExec(3)
	return guest.Answer(3, r)
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
