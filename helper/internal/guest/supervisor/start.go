// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest. As: the user. Everything here reads what they chose.

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/terminal"

	"golang.org/x/sys/unix"
)

// start runs what the request asks for, tells the other end, and returns the
// program's pid, and the path of the agent's socket, if there is one.
func (v *supervisor) start(line *lifeline.Conn, request lifeline.StartRequest, who account) (pid int, socket string, err error) {
	path, argv, err := commandLine(request, who.shell)
	if err != nil {
		return 0, "", err
	}
	files, master, tty, err := openStdio(line, request)
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if master != nil {
			master.Close()
		}
	}()
	if err != nil {
		return 0, "", err
	}
	env := append(request.Env, "SHELL="+who.shell)
	if tty != "" {
		env = append(env, "SSH_TTY="+tty)
	}
	reply, fds := lifeline.StartedReply{TTY: tty}, []int(nil)
	if master != nil {
		fds = append(fds, int(master.Fd()))
	}
	if request.Agent {
		a, err := listenForAgent()
		if err != nil {
			reply.NoAgent = err.Error() // a session without it is better than none
		} else {
			defer a.close()
			defer func() {
				if pid == 0 {
					a.remove()
				}
			}()
			env = append(env, "SSH_AUTH_SOCK="+a.path)
			fds, socket = append(fds, a.listener), a.path
		}
	}
	dir := who.home
	if err := unix.Access(dir, unix.X_OK); err != nil {
		fmt.Fprintf(files[2], "Could not change directory to %s: %v\n", dir, err)
		dir = "/"
	}
	// A subreaper inherits whatever a daemon leaves behind (PR_SET_CHILD_SUBREAPER,
	// prctl(2)): nothing of the session escapes from under it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, "", fmt.Errorf("subreaper: %w", err)
	}
	// Children get these by inheritance. A limit that is above the container's
	// own is the container's.
	unix.Umask(int(request.Umask))
	applyLimits(append(request.Limits, lifeline.Limit{Resource: unix.RLIMIT_NPROC, Soft: v.rules.Processes, Hard: v.rules.Processes}))
	attr := &syscall.ProcAttr{
		Dir: dir, Env: env,
		Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()},
		// The first process of a session of its own, as under sshd. It dies
		// with this one (the main thread, which main has locked).
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: tty != "", Ctty: 0, Pdeathsig: syscall.SIGKILL},
	}
	running, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, "", execRefusal(path, err)
	}
	if err := line.Send(lifeline.Started, reply.Pack(), fds...); err != nil {
		_ = unix.Kill(running, unix.SIGKILL)
		return 0, "", err
	}
	v.keeper.sendID(request.ID)
	return running, socket, nil
}

// The statuses that a shell gives a program that it cannot run (POSIX, 2.8.2).
const (
	exitNotExecuted = 126
	exitNotFound    = 127
)

// execRefusal says why a program could not be started.
func execRefusal(path string, err error) error {
	cause := fmt.Errorf("%s: %w", path, err)
	switch {
	case errors.Is(err, unix.ENOENT):
		return &loginerror.Refusal{Status: exitNotFound, User: cause.Error(), Cause: cause}
	case errors.Is(err, unix.EAGAIN):
		return loginerror.New("no more processes can be started: end some, or some sessions, and try again", cause)
	}
	return &loginerror.Refusal{Status: exitNotExecuted, User: cause.Error(), Cause: cause}
}

// missing is a program that the container does not have.
func missing(what string, cause error) error {
	return &loginerror.Refusal{Status: exitNotFound, User: "there is no " + what + " in this container", Cause: cause}
}

// commandLine returns what to execute for a request, and its argv.
func commandLine(request lifeline.StartRequest, shell string) (path string, argv []string, err error) {
	if request.Kind == lifeline.SFTPRequest {
		server := firstExecutable(request.SFTP)
		if server == "" {
			return "", nil, missing("sftp server", fmt.Errorf("no sftp server: none of %q is executable", request.SFTP))
		}
		return server, []string{server}, nil
	}
	if shell == "" {
		return "", nil, missing("shell", errors.New("no shell: no candidate is executable"))
	}
	name := filepath.Base(shell)
	switch request.Kind {
	case lifeline.ShellRequest:
		return shell, []string{"-" + name}, nil // a login shell (login(1))
	case lifeline.CommandRequest:
		return shell, []string{name, "-c", request.Command}, nil
	}
	return "", nil, fmt.Errorf("start: cannot run %q", request.Kind)
}

// openStdio returns the program's three files: those that came along, or a new
// pty's tty, then with its master and its name.
func openStdio(line *lifeline.Conn, request lifeline.StartRequest) (files []*os.File, master *os.File, tty string, err error) {
	if !request.TTY {
		fds := line.TakeFDs()
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "stdio"))
		}
		if len(fds) != 3 {
			return files, nil, "", fmt.Errorf("start: %d descriptors came, not 3", len(fds))
		}
		for i, fd := range fds {
			if err := checkDescriptor(fd); err != nil {
				return files, nil, "", fmt.Errorf("start: descriptor %d: %w", i, err)
			}
		}
		return files, nil, "", nil
	}
	master, slave, tty, err := terminal.OpenPTY()
	if err != nil {
		return nil, nil, "", fmt.Errorf("pty: %w", err)
	}
	// Modes and size are set before anything runs in it.
	if err := errors.Join(
		terminal.SetModes(int(slave.Fd()), request.Termios),
		terminal.SetSize(int(slave.Fd()), terminal.Size{Row: request.Rows, Col: request.Cols, Xpixel: request.XPixels, Ypixel: request.YPixels}),
	); err != nil {
		return nil, nil, "", fmt.Errorf("pty: %w", err)
	}
	return []*os.File{slave, slave, slave}, master, tty, nil
}

// checkDescriptor fails for a descriptor that could be a way out: by a directory or a
// file of the host's, or a device, the container's processes would reach it.
func checkDescriptor(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_PATH != 0 {
		return errors.New("is only a path")
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return nil
	case unix.S_IFCHR:
		if st.Rdev == unix.Mkdev(1, 3) || terminal.IsTTY(fd) { // null(4)
			return nil
		}
	}
	return errors.New("is no pipe, socket, terminal or /dev/null")
}

// applyLimits takes over the host session's limits (pam_limits set them there)
// as far as the container's own allow.
func applyLimits(limits []lifeline.Limit) {
	for _, l := range limits {
		var current unix.Rlimit
		if unix.Getrlimit(l.Resource, &current) != nil {
			continue
		}
		hard := min(l.Hard, current.Max)
		_ = syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: min(l.Soft, hard), Max: hard})
	}
}
