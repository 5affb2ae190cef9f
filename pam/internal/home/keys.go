// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"berth/pam/internal/at"

	"golang.org/x/sys/unix"
)

const (
	keysName = "authorized_keys"
	// keysPrefix begins the name of a file of keys that is being written.
	keysPrefix  = ".authorized_keys.berth."
	maxKeysSize = 1 << 20
)

// firstKeys reads what a first authorized_keys holds, as root, from a place that
// nobody else may write. What cannot be used is told, and counts as none.
func (m *maker) firstKeys() []byte {
	if m.Keys == "" || m.NoSSH {
		return nil
	}
	path, err := m.expand(m.Keys)
	if err != nil {
		m.warn("authorized_keys=: " + err.Error())
		return nil
	}
	file, err := at.OpenOwned(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		m.warn("authorized_keys=: " + err.Error())
		return nil
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKeysSize+1))
	if err == nil && len(text) > maxKeysSize {
		err = fmt.Errorf("%s: more than %d KiB", path, maxKeysSize>>10)
	}
	if err != nil {
		m.warn("authorized_keys=: " + err.Error())
		return nil
	}
	return text
}

// expand puts the user's name, home and uid for %u, %h and %U, and % for %%.
func (m *maker) expand(pattern string) (string, error) {
	var path strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			path.WriteByte(pattern[i])
			continue
		}
		i++
		switch {
		case i == len(pattern):
			return "", fmt.Errorf("%s: %% at the end", pattern)
		case pattern[i] == '%':
			path.WriteByte('%')
		case pattern[i] == 'u':
			// A name leads nowhere else.
			if strings.Contains(m.User, "/") || m.User == "." || m.User == ".." {
				return "", fmt.Errorf("%s: the user's name is no file name", pattern)
			}
			path.WriteString(m.User)
		case pattern[i] == 'h':
			path.WriteString(m.Path)
		case pattern[i] == 'U':
			path.WriteString(strconv.Itoa(m.UID))
		default:
			return "", fmt.Errorf("%s: %%%c is none of %%u, %%h, %%U, %%%%", pattern, pattern[i])
		}
	}
	return path.String(), nil
}

// makeKeys makes .ssh and a first authorized_keys in the directory home, and
// leaves alone what is there. fresh is a home that is being built.
func (m *maker) makeKeys(home int, fresh bool) error {
	if err := m.label(".ssh", unix.S_IFDIR); err != nil {
		return err
	}
	err := unix.Mkdirat(home, ".ssh", 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkdir", Path: ".ssh", Err: err}
	}
	ssh, err := at.Open(home, ".ssh", unix.O_RDONLY|unix.O_DIRECTORY, 0, false)
	if err != nil {
		return err
	}
	defer unix.Close(ssh)
	if !fresh {
		if err := m.checkUsers(ssh, ".ssh"); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(ssh, keysName, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
		if err := m.writeKeys(ssh, fresh); err != nil {
			return fmt.Errorf("%s: %w", keysName, err)
		}
	}
	// The skeleton may have brought a .ssh of its own, with its own mode. Where
	// she could exchange it, it keeps the mode that it was made with.
	if made && !m.own {
		return m.give(ssh, 0o700)
	}
	return nil
}

// writeKeys makes authorized_keys under another name first: a half-written one
// would be taken for hers for ever.
func (m *maker) writeKeys(ssh int, fresh bool) error {
	if !fresh {
		at.Sweep(ssh, keysPrefix, at.Remove)
	}
	if err := m.label(".ssh/"+keysName, unix.S_IFREG); err != nil {
		return err
	}
	name := keysPrefix + strconv.Itoa(os.Getpid())
	fd, err := at.Open(ssh, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600, false)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	taken := true
	defer func() {
		if taken {
			_ = unix.Unlinkat(ssh, name, 0)
		}
	}()
	// A sweeping login that comes before this takes the file away, and makes one.
	at.Lock(fd)
	if _, err := file.Write(m.keys); err != nil {
		return err
	}
	if err := m.give(fd, 0o600); err != nil {
		return err
	}
	// What a full disk or a server refuses it may refuse as late as this.
	if len(m.keys) > 0 {
		if err := file.Sync(); err != nil {
			return err
		}
	}
	taken, err = at.Rename(ssh, name, keysName)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	taken = taken || err != nil
	return err
}

// keysAsUser does so in a home that exists, and in which she may have planted
// anything. It must be hers, and nobody else's to exchange: what lies outside
// of it is not touched, even with her rights.
func (m *maker) keysAsUser() error {
	if err := m.become(); err != nil {
		return err
	}
	home, err := at.Reach(m.Path, m.UID, false)
	if err != nil {
		return fmt.Errorf("keys in %s: %w", m.Path, err)
	}
	defer unix.Close(home)
	if err := m.checkUsers(home, "it"); err != nil {
		return fmt.Errorf("keys in %s: %w", m.Path, err)
	}
	if err := m.makeKeys(home, false); err != nil {
		return fmt.Errorf("keys in %s: %w", m.Path, err)
	}
	return nil
}

func (m *maker) checkUsers(fd int, what string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if int(st.Uid) != m.UID {
		return fmt.Errorf("%s belongs to uid %d", what, st.Uid)
	}
	return nil
}
