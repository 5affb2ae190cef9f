// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"io"
	"os"
	"sync"

	"berth/helper/internal/link/terminal"

	"golang.org/x/sys/unix"
)

// stdio is what becomes of descriptors 0, 1 and 2. Under sshd without a tty
// they are pipes, and the program inside gets these very pipes. Anything with
// a name or a power of its own (a file, a device, a tty that is not the
// session's) stays on the host, behind a pipe and a copier.
type stdio struct {
	tty   bool  // all of them are the session's terminal: it is relayed
	pass  []int // what the guest's program gets; none with a tty
	inner []*os.File
	// outputs is done when what the program wrote behind a pipe has been
	// copied.
	outputs sync.WaitGroup
}

func openStdio(tty bool) (*stdio, error) {
	if tty {
		return &stdio{tty: true}, nil
	}
	s := &stdio{}
	for fd := range 3 {
		if passable(fd) {
			s.pass = append(s.pass, fd)
			continue
		}
		if err := s.bridge(fd); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// passable reports whether fd may enter the container.
func passable(fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return true
	case unix.S_IFCHR:
		return st.Rdev == unix.Mkdev(1, 3) // /dev/null
	}
	return false
}

// bridge puts a pipe and a copier between fd and the program.
func (s *stdio) bridge(fd int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	own := os.NewFile(uintptr(fd), "stdio")
	if fd == 0 {
		s.pass, s.inner = append(s.pass, int(r.Fd())), append(s.inner, r)
		// Not waited for: the program's end ends the session, whatever its
		// input still has to say.
		go func() {
			_, _ = io.Copy(w, own)
			w.Close()
		}()
		return nil
	}
	s.pass, s.inner = append(s.pass, int(w.Fd())), append(s.inner, w)
	s.outputs.Go(func() {
		_, _ = io.Copy(own, r)
		r.Close()
	})
	return nil
}

// closePassed closes our ends of what the guest holds now, so that the end of file
// arrives when its program is done. Input that sshd feeds is given up too: with
// nobody reading in the container the client learns it.
func (s *stdio) closePassed() {
	for _, f := range s.inner {
		f.Close()
	}
	s.inner = nil
	if !s.tty && s.pass[0] == 0 {
		if null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Dup2(null, 0)
			unix.Close(null)
		}
	}
}

// Close gives up what was not passed.
func (s *stdio) Close() {
	for _, f := range s.inner {
		f.Close()
	}
	s.inner = nil
}

// HasTTY reports whether the session has a terminal: exactly when sshd gave it
// one.
func HasTTY() bool { return terminal.IsTTY(0) && terminal.IsTTY(1) }
