// SPDX-License-Identifier: Apache-2.0

// Package agent connects programs in the container to the ssh-agent that sshd forwards (ssh -A).
// SSH_AUTH_SOCK says where its socket is, and the user may have set that. So nothing is sent
// there unless this session's own sshd listens on it.
//
// Process: berth-session. As: the user, with no right besides.
package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Variable is where sshd says what the path of its socket is.
const Variable = "SSH_AUTH_SOCK"

// ErrNotOurs says that another process than this session's sshd listens on a socket.
var ErrNotOurs = errors.New("is not the socket of this session's sshd")

// maxPath is the longest that connect(2) takes.
const maxPath = 107

// connectTimeout bounds the wait for an sshd that accepts nobody.
const connectTimeout = 2 * time.Second

// InHome reports whether path leads to a socket below home, which the container has, too: sshd
// has put it there since OpenSSH 10.1. Programs in the container connect to it themselves.
func InHome(path, home string) bool {
	return isPath(path) && isPath(home) && home != "/" && strings.HasPrefix(path, home+"/")
}

func isPath(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && len(path) <= maxPath &&
		!strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Connect returns a connection to the sshd that this process is a child of.
//
// ORDER MATTERS. 1. Hold what is at the path, and see that it is a socket of the user's own: no
// other is touched. 2. Connect to what is held, whatever has taken its place at the path. 3. Ask
// the kernel who listens. Only then does the caller get a connection to write to.
// Guarded by TestNoOtherSocket, and by TestAgentPathLeadsNowhere (test/login).
func Connect(path string) (*os.File, error) {
	if !isPath(path) {
		return nil, fmt.Errorf("agent: a path that %w", ErrNotOurs)
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS}
	held, err := unix.Openat2(unix.AT_FDCWD, path, how) // 1
	if err != nil {
		return nil, fmt.Errorf("agent: %q: %w", path, err)
	}
	defer unix.Close(held)
	var st unix.Stat_t
	if err := unix.Fstat(held, &st); err != nil {
		return nil, fmt.Errorf("agent: %q: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Getuid() {
		return nil, fmt.Errorf("agent: %q: mode %o, uid %d: %w", path, st.Mode, st.Uid, ErrNotOurs)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("agent: socket: %w", err)
	}
	bound := unix.NsecToTimeval(int64(connectTimeout))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &bound)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(held)}) // 2
	}
	if err == nil {
		err = checkListener(fd) // 3
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("agent: %q: %w", path, err)
	}
	return os.NewFile(uintptr(fd), "agent"), nil
}

// checkListener fails unless the listener at the other end of fd is an ancestor of this process
// with the user's uid: sshd, which listens before it starts us. The kernel has noted who called
// listen(2), and nobody becomes our ancestor later.
func checkListener(fd int) error {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("SO_PEERCRED: %w", err)
	}
	if int(cred.Uid) != os.Getuid() || cred.Pid <= 1 || !isAncestor(int(cred.Pid)) {
		return fmt.Errorf("uid %d, pid %d: %w", cred.Uid, cred.Pid, ErrNotOurs)
	}
	return checkAlive(fd)
}

// checkAlive fails if the listener's process has ended, because then its pid may be sshd's by
// now. Linux before 6.5 cannot tell (SECURITY.md).
func checkAlive(fd int) error {
	listener, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("its process has ended (%w): %w", err, ErrNotOurs)
	}
	defer unix.Close(listener)
	if err := unix.PidfdSendSignal(listener, 0, nil, 0); err != nil {
		return fmt.Errorf("its process has ended (%w): %w", err, ErrNotOurs)
	}
	return nil
}

// isAncestor reports whether pid is one of this process's ancestors. With hidepid the search ends at
// another user's process; sshd comes before that: it is the parent, or the parent of the user's shell.
func isAncestor(pid int) bool {
	for next := os.Getppid(); next > 1; next = parentOf(next) {
		if next == pid {
			return true
		}
	}
	return false
}

// parentOf returns a process's parent (proc_pid_stat(5)), or 0.
func parentOf(pid int) int {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name is in parentheses, and may have any byte.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return parent
}
