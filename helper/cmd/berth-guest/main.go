// SPDX-License-Identifier: Apache-2.0

// berth-guest is berth inside the container, beside its first process, berth-init
// (helper/cmd/berth-init). That starts `berth-guest server` and `berth-guest spawner`, which
// starts `berth-guest session -` for each session to come; with the exec transport
// the engine starts `berth-guest session NAME`. `berth-guest terminate` ends what
// a session leaves. It is a static program, mounted read-only; it takes nothing from
// its environment.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"berth/helper/internal/guest/server"
	"berth/helper/internal/guest/supervisor"
	"berth/helper/internal/link/threads"
)

// threadCount is how many threads a process of ours may come to need. It has them from the
// start: a container at its limit of processes refuses new ones.
const threadCount = 6

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	// The parent-death signal of the session's program follows the thread that
	// forked it (prctl(2), PR_SET_PDEATHSIG): let it be the one that lives as
	// long as the process.
	runtime.LockOSThread()
	switch {
	case len(args) == 1 && args[0] == "server":
		threads.Make(threadCount)
		return exitStatus(server.Serve())
	case len(args) == 1 && args[0] == "spawner":
		threads.Make(threadCount)
		return exitStatus(server.Spawn())
	case len(args) == 1 && args[0] == "terminate":
		catchSignals()
		return exitStatus(supervisor.Terminate())
	case len(args) == 2 && args[0] == "session":
		return exitStatus(session(args[1]))
	case len(args) == 1 && args[0] == "probe":
		return exitStatus(supervisor.Probe())
	}
	fmt.Fprintln(os.Stderr, "usage: berth-guest session NAME | probe")
	return 2
}

func exitStatus(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth-guest:", err)
		return 1
	}
	return 0
}

// session supervises one session: the one whose lifeline is called name, or,
// with name "-", the one that the server hands over by descriptor 3.
func session(name string) error {
	catchSignals()
	threads.Make(threadCount)
	if name != "-" {
		return supervisor.ServeExec(name)
	}
	syscall.CloseOnExec(3)
	return supervisor.ServeDirect(3)
}

// catchSignals keeps the session's processes' signals from ending this one: they are
// hung up by us, not along with us. Caught, not ignored: what is ignored stays so in
// the children (execve(2)).
func catchSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTERM)
}
