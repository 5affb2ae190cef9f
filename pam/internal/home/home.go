// SPDX-License-Identifier: Apache-2.0

// Package home makes home directories: whole or not at all, by directory
// descriptors, as root where root must and as the user where that will do.
//
// Process: the worker of pam_berth.so. As: root, until become.
package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"berth/pam/internal/at"

	"golang.org/x/sys/unix"
)

// Request is what the PAM side knows.
type Request struct {
	User       string
	UID, GID   int
	Groups     []int  // supplementary; with these she may reach her home
	Path       string // absolute, clean
	Skel       string
	SkelGiven  bool // else a missing one is no error
	Umask      uint32
	UmaskGiven bool // else login.defs decides
	Mode       uint32
	ModeGiven  bool     // Mode is the home's, whatever else says so
	Keys       string   // pattern of the path that a first authorized_keys comes from; "" for none
	NoSSH      bool     // neither .ssh nor authorized_keys
	Existing   Existing // what to do about a home that is not as it must be
	// Label sets what SELinux is to call what is created next, at its final
	// path; nil where there is nothing to set.
	Label func(path string, mode uint32) error
}

// maker makes things for one request.
type maker struct {
	Request
	modes modes
	keys  []byte // what a first authorized_keys holds
	own   bool   // the process has become the user: what it makes is hers
	warn  func(string)
}

// Open makes the home if there is none, and .ssh/authorized_keys in it. It
// reports whether a home was made. warn gets what an administrator should know
// although the login goes on. The process may have become the user afterwards.
func Open(r Request, warn func(string)) (made bool, err error) {
	m := &maker{Request: r, warn: warn}
	m.keys = m.firstKeys()
	var st unix.Stat_t
	err = unix.Lstat(r.Path, &st)
	if errors.Is(err, unix.EACCES) {
		// Root, and may not look: the server takes it for nobody (root_squash).
		if err := m.become(); err != nil {
			return false, err
		}
		err = unix.Lstat(r.Path, &st)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		made, err = m.make()
		if made || err != nil {
			return made, err
		}
		// Another login was quicker: its home is whole.
	case err != nil:
		return false, &os.PathError{Op: "stat", Path: r.Path, Err: err}
	case !m.own:
		if err := m.judge(); err != nil {
			return false, err
		}
	}
	if m.NoSSH {
		return false, nil
	}
	if err := m.keysAsUser(); err != nil {
		warn(err.Error())
	}
	return false, nil
}

// make makes the home: as root, or as the user where root may not and she may.
func (m *maker) make() (made bool, err error) {
	if m.modes, err = modesFor(m.Request, loginDefs); err != nil {
		return false, err
	}
	if !m.own {
		made, err = m.makeAsRoot()
		if err == nil || !m.isForUser(err) {
			return made, m.withPath(err)
		}
		if berr := m.become(); berr != nil {
			return false, berr
		}
	}
	// With her rights alone nothing can be made that she could not make herself.
	parent, err := at.Walk(filepath.Dir(m.Path), m.UID, true)
	if err != nil {
		return false, m.withPath(err)
	}
	defer unix.Close(parent)
	made, err = m.build(parent, filepath.Base(m.Path))
	return made, m.withPath(err)
}

func (m *maker) makeAsRoot() (made bool, err error) {
	parent, err := at.Walk(filepath.Dir(m.Path), 0, true)
	if err != nil {
		return false, err
	}
	defer unix.Close(parent)
	return m.build(parent, filepath.Base(m.Path))
}

// isForUser reports whether what root could not do is hers to do: in a directory
// that is hers alone, or where a server squashes root.
func (m *maker) isForUser(err error) bool {
	if unsafe := (*at.UnsafeError)(nil); errors.As(err, &unsafe) {
		return unsafe.Owner == m.UID && !unsafe.Others
	}
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

func (m *maker) withPath(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("home %s: %w", m.Path, err)
}
