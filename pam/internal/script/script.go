// SPDX-License-Identifier: Apache-2.0

// Package script runs a site's own program at the opening and closing of a
// session, as pam_exec(8) would.
//
// Process: the worker of pam_berth.so. As: root.
package script

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"berth/pam/internal/at"
)

// Call is one run of a program.
type Call struct {
	Task    string // how its errors, and the lines of its output, begin
	Path    string
	Args    []string
	Env     []string      // complete
	Timeout time.Duration // after which the program and its group are killed
}

const (
	maxLines    = 20       // of output that reach the log
	maxLineSize = 400      // bytes
	pipeSize    = 64 << 10 // what a pipe holds (pipe(7))
	// margin is what is left of the time for saying so.
	margin = 100 * time.Millisecond
)

// Run runs the program and logs what it prints. It fails where the program, or
// a directory above it, is not root's alone, where it cannot be run, does not
// end in time, or ends with a status that is not 0.
func Run(c Call, log func(string)) error {
	if err := run(c, log); err != nil {
		return fmt.Errorf("%s: %w", c.Task, err)
	}
	return nil
}

func run(c Call, log func(string)) error {
	// Nobody else can exchange what was looked at, so the name will do: a script
	// wants one.
	file, err := at.OpenOwned(c.Path)
	if err != nil {
		return err
	}
	file.Close()
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout-margin)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Env, cmd.Dir = c.Env, "/"
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	// The death signal follows the thread that forked (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Start()
	writer.Close()
	if err != nil {
		reader.Close()
		return err
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		logLines(&output{reader, pipeSize}, c.Task, log)
	}()
	err = cmd.Wait()
	// A daemon that the script started may keep its output open: what it says
	// from now on is nobody's.
	_ = reader.SetReadDeadline(time.Now())
	<-said
	reader.Close()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s was not done in time and was killed", c.Path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	return nil
}

// output is the pipe of what a program prints. After its deadline what is left in
// it is read without waiting, so that nothing that the program itself said is lost.
type output struct {
	*os.File
	left int // bytes that may be read after the deadline
}

func (o *output) Read(b []byte) (int, error) {
	n, err := o.File.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) || o.left <= 0 {
		return n, err
	}
	conn, err := o.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := conn.Control(func(fd uintptr) { n, err = syscall.Read(int(fd), b) }); cerr != nil {
		return 0, cerr
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	n = max(n, 0)
	o.left -= n
	return n, err
}

// logLines logs the first lines, cut where they are long, with the task before each.
func logLines(r io.Reader, task string, log func(string)) {
	lines := bufio.NewReaderSize(r, maxLineSize)
	n, inside := 0, false
	for {
		text, more, err := lines.ReadLine()
		if err != nil {
			break
		}
		if !inside { // else the rest of a line that was cut
			if n++; n <= maxLines && len(text) > 0 {
				log(task + ": " + string(text))
			}
		}
		inside = more
	}
	if n > maxLines {
		log(fmt.Sprintf("%s: %d lines more", task, n-maxLines))
	}
}
