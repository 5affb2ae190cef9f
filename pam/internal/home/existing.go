// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"berth/pam/internal/at"

	"golang.org/x/sys/unix"
)

// Existing is what is done about a home that exists and is not as it must be.
type Existing string

// The choices of existing=.
const (
	Ignore Existing = "ignore"
	Warn   Existing = "warn"
	Repair Existing = "repair"
	Deny   Existing = "deny"
)

// DeniedError is a home that existing=deny refuses.
type DeniedError struct {
	Path   string
	Faults []string
}

func (e *DeniedError) Error() string { return e.Path + " " + strings.Join(e.Faults, ", ") }

// judge looks at a home that exists, and does what Existing says. It fails only
// for Deny.
func (m *maker) judge() error {
	if m.Existing == Ignore {
		return nil
	}
	found := m.faults()
	if len(found) > 0 && m.Existing == Repair {
		if err := m.repair(); err != nil {
			m.warn(fmt.Sprintf("%s is not repaired: %v", m.Path, err))
		}
		found = m.faults()
	}
	if len(found) == 0 {
		return nil
	}
	denied := &DeniedError{m.Path, found}
	if m.Existing == Deny {
		return denied
	}
	m.warn(denied.Error())
	return nil
}

// faults says what is wrong with the home. The path is the administrator's; a
// user who exchanges what it leads to deceives herself alone.
func (m *maker) faults() (found []string) {
	var st unix.Stat_t
	if unix.Lstat(m.Path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		found = append(found, "is a symbolic link")
	}
	switch err := unix.Stat(m.Path, &st); {
	case err != nil:
		return append(found, "cannot be reached: "+err.Error())
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return append(found, "is not a directory")
	}
	if int(st.Uid) != m.UID {
		found = append(found, fmt.Sprintf("belongs to uid %d", st.Uid))
	}
	if st.Mode&0o022 != 0 {
		found = append(found, fmt.Sprintf("may be written by others (mode %04o)", st.Mode&0o7777))
	}
	return found
}

// repair gives her an empty directory of root's, and takes the right to write
// from others in a directory of hers. What holds files, or is somebody else's,
// is not the module's to judge: it may be another user's home, or /usr.
func (m *maker) repair() error {
	parent, err := at.Walk(filepath.Dir(m.Path), 0, false)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	dir, err := at.OpenDir(parent, filepath.Base(m.Path))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch mode := st.Mode & 0o7777; int(st.Uid) {
	case m.UID:
		return os.NewSyscallError("fchmod", unix.Fchmod(dir, mode&^0o022))
	case 0:
		return m.giveEmpty(dir, mode)
	}
	return fmt.Errorf("it belongs to uid %d", st.Uid)
}

// giveEmpty gives away a directory of root's that has the mode now. Where others
// may write it they lose that before it is looked at for the last time: a file
// of theirs would be a part of her home. TestAttackers guards the order.
func (m *maker) giveEmpty(dir int, now uint32) error {
	modes, err := modesFor(m.Request, loginDefs)
	if err != nil {
		return err
	}
	if err := isEmpty(dir); err != nil {
		return err
	}
	if err := unix.Fchmod(dir, 0o700); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := isEmpty(dir); err != nil {
		return errors.Join(err, os.NewSyscallError("fchmod", unix.Fchmod(dir, now)))
	}
	// The mode first: once it is hers, the next login finds nothing to repair.
	if err := unix.Fchmod(dir, modes.home); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	return os.NewSyscallError("fchown", unix.Fchown(dir, m.UID, m.GID))
}

func isEmpty(dir int) error {
	names, err := at.List(dir)
	if err == nil && len(names) > 0 {
		err = errors.New("it is root's, and not empty")
	}
	return err
}
