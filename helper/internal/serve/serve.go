// SPDX-License-Identifier: Apache-2.0

// Package serve is the container's main process and the server below it. The
// keeper (Keep) holds the listening socket for as long as the container lives
// and sees to it that a server runs; the server (Serve) asks the kernel who
// calls and starts one supervisor for each session (package guest). Both are
// container root and read no byte that a caller sent.
//
//	docker-init
//	└─ berth-enter serve            the keeper
//	    └─ berth-enter server       may die, or be replaced, at any time
//	        └─ berth-enter session  the user; lives on, then the keeper's child
package serve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"berth/helper/internal/place"

	"golang.org/x/sys/unix"
)

// backlog is how many callers may wait while no server runs; the kernel lowers
// it to net.core.somaxconn.
const backlog = 4096

// thrifty is a heap that is collected when it is 800 KiB, not 4 MiB (runtime, GOGC):
// these processes live for months and do little at a time.
const thrifty = 20

// Descriptors that a server inherits.
const (
	listenerFD = 3
	reportFD   = 4
)

// listen makes the socket in dir. Every user of the host may reach it, and no user
// of the container.
func listen(dir string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	path := filepath.Join(dir, place.Socket)
	// Under its name it is there when it can be connected to, not before.
	next := path + ".new"
	_ = unix.Unlink(next)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: next}); err != nil {
		return -1, fmt.Errorf("bind %s: %w", next, err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return -1, fmt.Errorf("listen: %w", err)
	}
	if err := unix.Chmod(next, 0o666); err != nil {
		return -1, fmt.Errorf("chmod %s: %w", next, err)
	}
	if err := unix.Rename(next, path); err != nil {
		return -1, fmt.Errorf("rename %s: %w", path, err)
	}
	return fd, nil
}

// own is the path of this program: the name that it was started by while that is
// still this very file, which is what ps shows; else the file itself.
func own() string {
	const self = "/proc/self/exe"
	var named, running unix.Stat_t
	if filepath.IsAbs(os.Args[0]) && unix.Stat(os.Args[0], &named) == nil && unix.Stat(self, &running) == nil &&
		named.Dev == running.Dev && named.Ino == running.Ino {
		return os.Args[0]
	}
	return self
}

// spawn starts this program again with args. Its standard files are files' first
// three; -1 is /dev/null.
func spawn(args []string, files []int, sys *syscall.SysProcAttr) (int, error) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/null: %w", err)
	}
	defer unix.Close(null)
	var given []uintptr
	for _, fd := range files {
		if fd < 0 {
			fd = null
		}
		given = append(given, uintptr(fd))
	}
	return syscall.ForkExec(own(), append([]string{os.Args[0]}, args...), &syscall.ProcAttr{Dir: "/", Files: given, Sys: sys})
}

// collect waits for every child that has ended, and for none that has not.
func collect(ended func(pid int, status unix.WaitStatus)) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid == 0 {
			return
		}
		ended(pid, status)
	}
}

// newLog returns what writes lines to out, and drops those that come while too
// many wait: nobody waits for a log, whose reader may be stopped.
func newLog(out io.Writer) func(format string, args ...any) {
	queue := make(chan string, 256)
	go func() {
		for line := range queue {
			fmt.Fprintln(out, "berth-enter: "+line)
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
var stderr = sync.OnceValue(func() func(string, ...any) { return newLog(os.Stderr) })

func logf(format string, args ...any) { stderr()(format, args...) }
