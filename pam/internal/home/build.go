// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"os"

	"berth/pam/internal/at"

	"golang.org/x/sys/unix"
)

// build makes the home beside its place and gives it its name when it is whole.
//
// The order is the argument: 1. a directory that its maker alone can enter,
// locked for as long as the maker lives; 2. its content, each entry given away
// when it is done; 3. its owner, then its mode; 4. its name, only if that is
// free.
func (m *maker) build(parent int, name string) (made bool, err error) {
	at.Sweep(parent, m.prefix(), at.RemoveAll)
	work, dir, err := m.workplace(parent) // 1
	if err != nil {
		return false, err
	}
	defer unix.Close(dir)
	defer func() {
		if !made {
			_ = at.RemoveAll(parent, work)
		}
	}()
	if err := m.copySkel(dir); err != nil { // 2
		return false, err
	}
	if !m.NoSSH {
		if err := m.makeKeys(dir, true); err != nil {
			return false, err
		}
	}
	if err := m.give(dir, m.modes.home); err != nil { // 3
		return false, err
	}
	taken, err := at.Rename(parent, work, name) // 4
	return err == nil && !taken, err
}

// prefix begins the name of a home that is being made for this user.
func (m *maker) prefix() string { return fmt.Sprintf(".berth-new.%d.", m.UID) }

// workplace makes the directory in which the home is built, and locks it. Until
// it is locked a sweeping login may take it for one that was left.
func (m *maker) workplace(parent int) (name string, dir int, err error) {
	for try := range 100 {
		name = fmt.Sprintf("%s%d.%d", m.prefix(), os.Getpid(), try)
		if err := m.label("", unix.S_IFDIR); err != nil {
			return "", -1, err
		}
		if err := unix.Mkdirat(parent, name, 0o700); err != nil {
			if errors.Is(err, unix.EEXIST) {
				continue
			}
			return "", -1, os.NewSyscallError("mkdir", err)
		}
		if dir, err = at.OpenDir(parent, name); err == nil {
			var st unix.Stat_t
			if at.Lock(dir) && unix.Fstat(dir, &st) == nil && st.Nlink > 0 {
				return name, dir, nil
			}
			unix.Close(dir)
		} else if !errors.Is(err, unix.ENOENT) {
			return "", -1, err
		}
	}
	return "", -1, errors.New("others keep removing the directory in which it is made")
}

// give hands what fd names over: the owner first, because that clears set-id
// bits, then the mode.
func (m *maker) give(fd int, mode uint32) error {
	if !m.own {
		if err := unix.Fchown(fd, m.UID, m.GID); err != nil {
			return os.NewSyscallError("fchown", err)
		}
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	return nil
}

// label announces what is created next, by its path in the home.
func (m *maker) label(path string, mode uint32) error {
	if m.Label == nil {
		return nil
	}
	if path != "" {
		path = "/" + path
	}
	return m.Label(m.Path+path, mode)
}
