// SPDX-License-Identifier: Apache-2.0

// Package rootfile reads files that root alone can have written.
package rootfile

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// MaxSize is how long a file may be, in bytes.
const MaxSize = 1 << 20

// Read returns the content of the file at path. It fails for one that is no
// regular file, that root does not own, that others may write, or that is
// longer than MaxSize.
func Read(path string) ([]byte, error) {
	// NONBLOCK: a FIFO in its place must not hang a login.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("is not a regular file")
	case st.Uid != 0:
		return nil, errors.New("does not belong to root")
	case st.Mode&0o022 != 0:
		return nil, errors.New("can be written by others than root")
	case st.Size > MaxSize:
		return nil, errors.New("is too long")
	}
	text := make([]byte, st.Size)
	for done := 0; done < len(text); {
		n, err := unix.Pread(fd, text[done:], int64(done))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return nil, io.ErrUnexpectedEOF // shortened meanwhile
		}
		done += n
	}
	return text, nil
}

// Pin returns a path for what is at path now: for a socket in a directory where a container's root may put something
// else. It leads nowhere if that is a link. It is good until release.
func Pin(path string) (pinned string, release func(), err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", func() {}, fmt.Errorf("open %s: %w", path, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() { unix.Close(fd) }, nil
}
