// SPDX-License-Identifier: Apache-2.0

// Package process is what berth-session knows of, and does to, its own process.
package process

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"unsafe"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/threads"
	"berth/test/coverage"

	"golang.org/x/sys/unix"
)

// Caller is what the process that started this one left to it.
type Caller struct {
	Umask  uint32
	Limits []lifeline.Limit
}

// Each processor that the Go runtime may use can cost a thread or more for as long as
// the session lasts, and threads count against RLIMIT_NPROC. Two are kept: with one
// there are fewer threads (7 instead of 8), but a key's echo takes 0.31 ms instead of
// 0.24, because who waits in read(2) holds the processor until the runtime notices.
func init() {
	if runtime.NumCPU() > 2 {
		runtime.GOMAXPROCS(2)
	}
}

// Start makes the process safe to read in, and returns what its caller left.
// berth-session calls the container before it (direct.Dial); what that opens is
// closed on exec as well.
func Start() (Caller, error) {
	// Whatever fs.suid_dumpable says: nobody reaches into it by ptrace(2), and
	// what it holds belongs in no core file.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return Caller{}, fmt.Errorf("undumpable: %w", err)
	}
	// What a session comes to need, while there is room for it (room, start.c): the
	// user's own processes count against their limit, too.
	if hasLowLimits() {
		threads.Make(8)
	}
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	return Caller{Umask: uint32(mask), Limits: callersLimits()}, nil
}

// Execute makes this process the program at path, with the arguments that it was
// itself started with. It returns only when it fails.
func Execute(path string, env []string) error {
	coverage.Flush()
	restoreLimits() // it raises them itself, and takes them to its session
	return unix.Exec(path, append([]string{path}, os.Args[1:]...), env)
}

// DieBy ends this process by the signal that ended the user's program: sshd
// makes an exit-signal only of that (session.c, session_exit_message). It does
// not return.
func DieBy(sig int) {
	coverage.Flush()
	runtime.LockOSThread()
	// Past the Go runtime's handlers: struct sigaction of zeros is SIG_DFL.
	var standard [4]uint64
	var none uint64
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&standard)), 0, 8, 0, 0)
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
	// To this thread: one that dumps core is not delivered before kill(2) returns.
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.Signal(sig))
	// Stopped by default, or ignored by the kernel: end as a shell would.
	os.Exit(128 + sig)
}

// FreeMemory gives back the memory that only the start of a session needs. A session
// waits for hours with what it took to start it: a TOML decoder, an HTTP client.
// Their pages are clean and the file's, but for those that the loader relocated;
// what is needed again comes back from the page cache.
func FreeMemory() {
	debug.SetGCPercent(20) // from here on small rather than fast
	debug.FreeOSMemory()
	self, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	written, end := relro()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err == nil && strings.HasPrefix(mode, "r") && mode[1] == '-' &&
			strings.HasSuffix(lines.Text(), " "+self) && (to <= written || from >= end) {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
