// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"io"
	"os"

	"berth/pam/internal/at"

	"golang.org/x/sys/unix"
)

// What a skeleton may hold at most: it is copied while a login waits. Bytes are
// those of data; a hole costs nothing.
const (
	maxEntries = 10000
	maxBytes   = 256 << 20
	maxDepth   = 64
)

// vendorSkel serves distributions that keep /etc for the administrator.
const vendorSkel = "/usr/etc/skel"

// copier copies one skeleton.
type copier struct {
	*maker
	entries int
	bytes   int64
	mute    bool // the file system keeps no attributes, and that was said
}

// copySkel fills the directory to with the skeleton's content.
func (m *maker) copySkel(to int) error {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	path := m.Skel
	from, err := unix.Open(path, flags, 0)
	if errors.Is(err, unix.ENOENT) && !m.SkelGiven {
		path = vendorSkel
		if from, err = unix.Open(path, flags, 0); errors.Is(err, unix.ENOENT) {
			return nil
		}
	}
	if err != nil {
		return &os.PathError{Op: "skeleton", Path: path, Err: err}
	}
	defer unix.Close(from)
	c := &copier{maker: m}
	if err := c.directory(from, to, "", 0); err != nil {
		return fmt.Errorf("skeleton %s: %w", path, err)
	}
	return nil
}

// directory copies what is in from; path is its path in the home.
func (c *copier) directory(from, to int, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d directories deep", path, maxDepth)
	}
	names, err := at.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if c.entries++; c.entries > maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		inner := name
		if path != "" {
			inner = path + "/" + name
		}
		if err := c.entry(from, to, name, inner, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry copies one entry by its type. FIFOs, sockets and devices have no
// business in a home and are left out. A file with several names becomes a file
// for each: what she writes to one must not show in another by surprise.
func (c *copier) entry(from, to int, name, path string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	kind, mode := st.Mode&unix.S_IFMT, st.Mode&0o777&^c.modes.umask
	switch kind {
	case unix.S_IFDIR, unix.S_IFREG, unix.S_IFLNK:
	default:
		c.warn(fmt.Sprintf("skeleton: %s is neither file, directory nor link and is left out", path))
		return nil
	}
	if err := c.label(path, kind); err != nil {
		return err
	}
	switch kind {
	case unix.S_IFDIR:
		return c.subdirectory(from, to, name, path, mode, depth)
	case unix.S_IFREG:
		return c.file(from, to, name, path, mode)
	}
	return c.link(from, to, name, path)
}

func (c *copier) link(from, to int, name, path string) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, name, buf)
	if err == nil {
		err = unix.Symlinkat(string(buf[:n]), to, name)
	}
	if err == nil && !c.own {
		err = unix.Fchownat(to, name, c.UID, c.GID, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return &os.PathError{Op: "link", Path: path, Err: err}
	}
	return nil
}

func (c *copier) subdirectory(from, to int, name, path string, mode uint32, depth int) error {
	source, err := at.OpenDir(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(source)
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	target, err := at.OpenDir(to, name)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := c.directory(source, target, path, depth+1); err != nil {
		return err
	}
	return c.finish(source, target, path, mode)
}

func (c *copier) file(from, to int, name, path string, mode uint32) error {
	fd, err := at.Open(from, name, unix.O_RDONLY|unix.O_NONBLOCK, 0, true)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(fd), path)
	defer source.Close()
	fd, err = at.Open(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600, true)
	if err != nil {
		return err
	}
	target := os.NewFile(uintptr(fd), path)
	defer target.Close()
	if err := c.data(source, target); err != nil {
		return err
	}
	if err := c.finish(int(source.Fd()), fd, path, mode); err != nil {
		return err
	}
	return target.Close() // where a server says that the quota is used up
}

// data copies what is not a hole (lseek(2), SEEK_DATA).
func (c *copier) data(source, target *os.File) error {
	st, err := source.Stat()
	if err != nil {
		return err
	}
	for end := int64(0); ; {
		start, err := source.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // no data behind end
		}
		if err == nil {
			end, err = source.Seek(start, unix.SEEK_HOLE)
		}
		if errors.Is(err, unix.EINVAL) { // a file system that knows no holes
			start, end, err = 0, st.Size(), nil
		}
		if err != nil {
			return err
		}
		if c.bytes += end - start; c.bytes > maxBytes {
			return fmt.Errorf("more than %d MiB in all", maxBytes>>20)
		}
		if err := section(source, target, start, end-start); err != nil {
			return err
		}
		if end >= st.Size() {
			break
		}
	}
	return target.Truncate(st.Size())
}

func section(source, target *os.File, start, n int64) error {
	if _, err := source.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := target.Seek(start, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(target, source, n)
	return err
}

// finish gives away what was copied: attributes before the mode, which then
// bounds an access control list, too.
func (c *copier) finish(source, target int, path string, mode uint32) error {
	if err := c.attributes(source, target); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := c.give(target, mode); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
