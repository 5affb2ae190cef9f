// SPDX-License-Identifier: Apache-2.0

// Package at walks directories by descriptor, so that nobody can exchange what
// has been looked at.
//
// Process: the worker of pam_berth.so. As: root, and as the user.
package at

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mostTries is how often an open that is disturbed is tried again.
const mostTries = 100

// Open opens the one name in dir; flags and mode are open(2)'s. No symbolic
// link is followed, and no other file system is entered unless cross is set
// (openat2(2)).
func Open(dir int, name string, flags int, mode uint32, cross bool) (int, error) {
	how := unix.OpenHow{
		Flags: uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC), Mode: uint64(mode),
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_BENEATH,
	}
	if !cross {
		how.Resolve |= unix.RESOLVE_NO_XDEV
	}
	fd, err := unix.Openat2(dir, name, &how)
	// Something was renamed meanwhile; or, for longer than a login can wait, a
	// user holds a lease on her file (fcntl(2), F_SETLEASE).
	for try := 0; try < mostTries && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)); try++ {
		fd, err = unix.Openat2(dir, name, &how)
	}
	if errors.Is(err, unix.ENOSYS) {
		// Linux before 5.6. For a single name O_NOFOLLOW says the same, but for
		// the file system's border.
		fd, err = unix.Openat(dir, name, int(how.Flags), mode)
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// OpenDir opens the directory name in dir.
func OpenDir(dir int, name string) (int, error) {
	return Open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0, true)
}

// List returns the names in a directory, also in one that was opened as a path
// only (O_PATH).
func List(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	file := os.NewFile(uintptr(fd), "directory")
	defer file.Close()
	return file.Readdirnames(-1)
}

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
const abandoned = 2 * time.Hour

// Lock locks fd for as long as the process lives. It reports false where
// somebody else has the lock.
func Lock(fd int) bool {
	return !errors.Is(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// mostSwept is how much is removed at a time: a login waits, and a user can
// make any number of names.
const mostSwept = 100

// Sweep removes, by remove, the entries of dir whose names begin with prefix and
// whose maker is gone.
func Sweep(dir int, prefix string, remove func(dir int, name string) error) {
	for _, name := range begins(dir, prefix) {
		fd, err := Open(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0, false)
		if err != nil {
			continue
		}
		if left(fd) {
			_ = remove(dir, name)
		}
		unix.Close(fd)
	}
}

// begins returns the first names in dir that begin with prefix.
func begins(dir int, prefix string) (found []string) {
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
				if found = append(found, name); len(found) == mostSwept {
					return found
				}
			}
		}
		if err != nil {
			return found
		}
	}
}

func left(fd int) bool {
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) {
		return err == nil
	}
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && time.Since(time.Unix(st.Mtim.Unix())) > abandoned
}

// Rename gives name in dir the new name, if that is free; taken says that it is
// not.
func Rename(dir int, name, to string) (taken bool, err error) {
	err = unix.Renameat2(dir, name, dir, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return renamePlainly(dir, name, to)
	}
	if errors.Is(err, unix.EEXIST) {
		return true, nil
	}
	return false, os.NewSyscallError("rename", err)
}

// renamePlainly serves file systems without the flag (NFS). A link fails where
// the name is taken; for a directory, which cannot be linked, rename(2)
// replaces an empty directory at most, and what is empty loses nothing.
func renamePlainly(dir int, name, to string) (taken bool, err error) {
	switch err = unix.Linkat(dir, name, dir, to, 0); {
	case err == nil:
		err = unix.Unlinkat(dir, name, 0)
	case errors.Is(err, unix.EPERM):
		err = unix.Renameat(dir, name, dir, to)
	}
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) {
		return true, nil
	}
	return false, os.NewSyscallError("rename", err)
}

// Safe fails with *UnsafeError unless the directory or file is root's, or the
// user uid's (0 for root's alone), and no one else may write it. It returns
// whose it is. (An access control list shows in the group's bits, acl(5).)
func Safe(fd, uid int, what string) (owner int, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	if owner = int(st.Uid); owner != 0 && owner != uid || st.Mode&0o022 != 0 {
		return owner, &UnsafeError{Path: what, Owner: owner, Others: st.Mode&0o022 != 0}
	}
	return owner, nil
}

// UnsafeError is something that others than root may change.
type UnsafeError struct {
	Path   string
	Owner  int
	Others bool // group or others may write it
}

func (e *UnsafeError) Error() string {
	if e.Others {
		return e.Path + ": others than its owner may write it"
	}
	return fmt.Sprintf("%s: it belongs to uid %d, not to root", e.Path, e.Owner)
}
