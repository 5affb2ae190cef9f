// SPDX-License-Identifier: Apache-2.0

// Package home makes home directories: whole or not at all, by directory
// descriptors, as root where root must and as the user where that will do.
//
// Process: the worker of pam_berth.so. As: root, until keysAsUser.
package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Request is what the PAM side knows.
type Request struct {
	User       string
	UID, GID   int
	Path       string // absolute, clean
	Skel       string
	SkelGiven  bool // else a missing one is no error
	Umask      uint32
	UmaskGiven bool // else login.defs decides
}

// Open makes the home if there is none, and .ssh/authorized_keys in it. It
// reports whether a home was made. warn gets what an administrator should know
// although the login goes on.
func Open(r Request, warn func(string)) (made bool, err error) {
	parent, err := openParent(filepath.Dir(r.Path))
	if err != nil {
		return false, fmt.Errorf("home %s: %w", r.Path, err)
	}
	defer unix.Close(parent)
	name := filepath.Base(r.Path)
	var st unix.Stat_t
	switch err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case errors.Is(err, unix.ENOENT):
		modes, err := modesFor(r, loginDefs)
		if err != nil {
			return false, err
		}
		if made, err = build(parent, name, r, modes, warn); err != nil {
			return false, fmt.Errorf("home %s: %w", r.Path, err)
		}
		if made {
			return true, nil
		}
		// Another login was quicker: its home is whole.
	case err != nil:
		return false, fmt.Errorf("home %s: %w", r.Path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Mode&unix.S_IFMT != unix.S_IFLNK:
		return false, fmt.Errorf("home %s exists and is no directory", r.Path)
	}
	if err := keysAsUser(r); err != nil {
		warn(err.Error())
	}
	return false, nil
}

// build makes the home beside its place and gives it its name when it is whole.
//
// The order is the argument: 1. a directory that root alone can enter, locked
// for as long as its maker lives; 2. its content, each entry given away when it
// is done; 3. its owner, then its mode; 4. its name, only if that is free.
func build(parent int, name string, r Request, modes modes, warn func(string)) (made bool, err error) {
	sweep(parent, r)
	work := fmt.Sprintf("%s%d.%d", prefix(r), os.Getpid(), r.UID)
	if err := unix.Mkdirat(parent, work, 0o700); err != nil { // 1
		return false, os.NewSyscallError("mkdir", err)
	}
	defer func() {
		if !made {
			_ = removeAll(parent, work)
		}
	}()
	dir, err := openDir(parent, work)
	if err != nil {
		return false, err
	}
	defer unix.Close(dir)
	if err := unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, os.NewSyscallError("flock", err)
	}
	if err := copySkel(dir, r, modes, warn); err != nil { // 2
		return false, err
	}
	if err := makeKeys(dir, &r); err != nil {
		return false, err
	}
	if err := unix.Fchown(dir, r.UID, r.GID); err != nil { // 3
		return false, os.NewSyscallError("fchown", err)
	}
	if err := unix.Fchmod(dir, modes.home); err != nil {
		return false, os.NewSyscallError("fchmod", err)
	}
	err = unix.Renameat2(parent, work, parent, name, unix.RENAME_NOREPLACE) // 4
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A file system without the flag (NFS). rename(2) replaces an empty
		// directory at most, and a home of ours is never empty.
		err = unix.Renameat(parent, work, parent, name)
	}
	switch {
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTEMPTY):
		return false, nil
	case err != nil:
		return false, os.NewSyscallError("rename", err)
	}
	return true, nil
}

// prefix begins the name of a home that is being made for r's user.
func prefix(r Request) string { return fmt.Sprintf(".berth-new.%d.", r.UID) }

// sweep removes what makers left that died: whoever lives holds a lock.
func sweep(parent int, r Request) {
	names, _ := list(parent)
	for _, name := range names {
		if len(name) <= len(prefix(r)) || name[:len(prefix(r))] != prefix(r) {
			continue
		}
		dir, err := openDir(parent, name)
		if err != nil {
			continue
		}
		if unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = removeAll(parent, name)
		}
		unix.Close(dir)
	}
}
