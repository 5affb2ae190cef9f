// SPDX-License-Identifier: Apache-2.0

package at

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Remove removes name in dir if it is no directory.
func Remove(dir int, name string) error { return unix.Unlinkat(dir, name, 0) }

// RemoveAll removes name in dir and all below it, following nothing. In a
// directory that is a user's it enters hers alone: she can move in what is
// another's, and what she may not remove there, root shall not for her.
func RemoveAll(dir int, name string) error { return removeAll(dir, name, 0) }

func removeAll(dir int, name string, owner uint32) error {
	if err := Remove(dir, name); err == nil || !errors.Is(err, unix.EISDIR) {
		return err
	}
	fd, err := Open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0, false)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if owner != 0 && st.Uid != owner {
		return fmt.Errorf("%s belongs to uid %d, and lies in a directory of uid %d", name, st.Uid, owner)
	}
	names, err := List(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAll(fd, n, st.Uid); err != nil {
			return err
		}
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// Locks on files and directories say that their maker lives (flock(2)). NFS has
// none for directories: there, age decides.
const abandonedAge = 2 * time.Hour

// Lock locks fd for as long as the process lives. It reports false where
// somebody else has the lock.
func Lock(fd int) bool {
	return !errors.Is(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// maxSwept is how much is removed at a time: a login waits, and a user can
// make any number of names.
const maxSwept = 100

// Sweep removes, by remove, the entries of dir whose names begin with prefix and
// whose maker is gone.
func Sweep(dir int, prefix string, remove func(dir int, name string) error) {
	for _, name := range namesWithPrefix(dir, prefix) {
		fd, err := openMade(dir, name)
		if err != nil {
			continue
		}
		if isAbandoned(fd) {
			_ = remove(dir, name)
		}
		unix.Close(fd)
	}
}

// openMade opens what a maker may have made. In its place a user may plant
// another name of somebody's file, which is not even opened: it would be seen,
// and locked, by us. A maker's file has one name.
func openMade(dir int, name string) (int, error) {
	path, err := Open(dir, name, unix.O_PATH, 0, false)
	if err != nil {
		return -1, err
	}
	defer unix.Close(path)
	var st unix.Stat_t
	if err := unix.Fstat(path, &st); err != nil {
		return -1, os.NewSyscallError("fstat", err)
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.Openat(path, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	case st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1:
		// The very file that was looked at; where there is no /proc it stays.
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", path), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	return -1, fmt.Errorf("%s is neither directory nor a file with one name", name)
}

// namesWithPrefix returns the first names in dir that begin with prefix.
func namesWithPrefix(dir int, prefix string) (found []string) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), "directory")
	defer file.Close()
	for {
		names, err := file.Readdirnames(1000)
		for _, name := range names {
			if len(name) > len(prefix) && name[:len(prefix)] == prefix {
				if found = append(found, name); len(found) == maxSwept {
					return found
				}
			}
		}
		if err != nil {
			return found
		}
	}
}

func isAbandoned(fd int) bool {
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) {
		return err == nil
	}
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && time.Since(time.Unix(st.Mtim.Unix())) > abandonedAge
}
