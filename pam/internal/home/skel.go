// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// What a skeleton may hold at most: it is copied while a login waits.
const (
	mostEntries = 10000
	mostBytes   = 256 << 20
	deepest     = 64
)

// vendorSkel serves distributions that keep /etc for the administrator.
const vendorSkel = "/usr/etc/skel"

// copier copies one skeleton.
type copier struct {
	r       Request
	umask   uint32
	entries int
	bytes   int64
	warn    func(string)
}

// copySkel fills the directory to with the skeleton's content.
func copySkel(to int, r Request, modes modes, warn func(string)) error {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	from, err := unix.Open(r.Skel, flags, 0)
	if errors.Is(err, unix.ENOENT) && !r.SkelGiven {
		if from, err = unix.Open(vendorSkel, flags, 0); errors.Is(err, unix.ENOENT) {
			return nil
		}
	}
	if err != nil {
		return &os.PathError{Op: "skeleton", Path: r.Skel, Err: err}
	}
	defer unix.Close(from)
	c := &copier{r: r, umask: modes.umask, warn: warn}
	return c.directory(from, to, 0)
}

func (c *copier) directory(from, to, depth int) error {
	if depth > deepest {
		return errors.New("skeleton: too deep")
	}
	names, err := list(from)
	if err != nil {
		return fmt.Errorf("skeleton: %w", err)
	}
	for _, name := range names {
		if c.entries++; c.entries > mostEntries {
			return fmt.Errorf("skeleton: more than %d entries", mostEntries)
		}
		if err := c.entry(from, to, name, depth); err != nil {
			return fmt.Errorf("skeleton: %s: %w", name, err)
		}
	}
	return nil
}

// entry copies one entry by its type. FIFOs, sockets and devices have no
// business in a home and are left out.
func (c *copier) entry(from, to int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("stat", err)
	}
	mode := st.Mode & 0o777 &^ c.umask
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.subdirectory(from, to, name, mode, depth)
	case unix.S_IFREG:
		return c.file(from, to, name, mode)
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(from, name, buf)
		if err == nil {
			err = unix.Symlinkat(string(buf[:n]), to, name)
		}
		if err == nil {
			err = unix.Fchownat(to, name, c.r.UID, c.r.GID, unix.AT_SYMLINK_NOFOLLOW)
		}
		return err
	}
	c.warn(fmt.Sprintf("skeleton: %s is neither file, directory nor link and is left out", name))
	return nil
}

func (c *copier) subdirectory(from, to int, name string, mode uint32, depth int) error {
	source, err := openDir(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(source)
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return os.NewSyscallError("mkdir", err)
	}
	target, err := openDir(to, name)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := c.directory(source, target, depth+1); err != nil {
		return err
	}
	return give(target, c.r, mode)
}

func (c *copier) file(from, to int, name string, mode uint32) error {
	fd, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	source := os.NewFile(uintptr(fd), name)
	defer source.Close()
	fd, err = unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("create", err)
	}
	target := os.NewFile(uintptr(fd), name)
	defer target.Close()
	n, err := io.Copy(target, io.LimitReader(source, mostBytes-c.bytes+1))
	if err != nil {
		return err
	}
	if c.bytes += n; c.bytes > mostBytes {
		return fmt.Errorf("more than %d MiB in all", mostBytes>>20)
	}
	if err := give(fd, c.r, mode); err != nil {
		return err
	}
	return target.Close()
}

// give hands what fd names over: the owner first, because that clears set-id
// bits, then the mode.
func give(fd int, r Request, mode uint32) error {
	if err := unix.Fchown(fd, r.UID, r.GID); err != nil {
		return os.NewSyscallError("fchown", err)
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	return nil
}
