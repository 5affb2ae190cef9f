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

	"golang.org/x/sys/unix"
)

// CheckKernel fails where the kernel lacks openat2(2), before anything is begun that
// could not be taken back without it.
func CheckKernel() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err != nil {
		return fmt.Errorf("openat2(2): %w", err)
	}
	return unix.Close(fd)
}

// maxTries is how often an open that is disturbed is tried again.
const maxTries = 100

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
	for try := 0; try < maxTries && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)); try++ {
		fd, err = unix.Openat2(dir, name, &how)
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

// Rename gives name in dir the new name, if that is free; taken says that it is
// not.
func Rename(dir int, name, to string) (taken bool, err error) {
	err = unix.Renameat2(dir, name, dir, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
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
