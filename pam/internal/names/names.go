// SPDX-License-Identifier: Apache-2.0

// Package names leaves a record of what NSS calls a user and her groups, where
// the container's server finds it: by a uid alone, which is all that the kernel
// tells it, it cannot know. The record is root's; nobody else has a hand in it.
//
// Process: the worker. As: root.
package names

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Record is one user's names.
type Record struct {
	User   string
	UID    uint32
	GID    uint32
	Gecos  string
	Home   string
	Shell  string
	Groups map[uint32]string // her groups' names by gid
}

var (
	// ErrUnfit is a name that cannot stand in passwd(5) or group(5).
	ErrUnfit = errors.New("cannot be recorded")
	// ErrUnsafe is a directory that others than root could write.
	ErrUnsafe = errors.New("does not belong to root alone")
)

func isField(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' })
}

// text is the record as it stands in the file: a line as in passwd(5), and lines
// as in group(5) with no members.
func (r Record) text() (string, error) {
	if r.User == "" || !isField(r.User) || !isField(r.Home) || !isField(r.Shell) {
		return "", fmt.Errorf("user %q, home %q, shell %q: %w", r.User, r.Home, r.Shell, ErrUnfit)
	}
	if !isField(r.Gecos) {
		r.Gecos = ""
	}
	lines := []string{fmt.Sprintf("%s:x:%d:%d:%s:%s:%s", r.User, r.UID, r.GID, r.Gecos, r.Home, r.Shell)}
	for gid, name := range r.Groups {
		if name != "" && isField(name) && !strings.Contains(name, ",") {
			lines = append(lines, fmt.Sprintf("%s:x:%d:", name, gid))
		}
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n") + "\n", nil
}

// Write puts r into dir, under its uid, atomically.
func Write(dir string, r Record) error {
	text, err := r.text()
	if err != nil {
		return err
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s: %w", dir, ErrUnsafe)
	}
	name := strconv.FormatUint(uint64(r.UID), 10)
	next := fmt.Sprintf("%s.%d", name, os.Getpid()) // a worker killed here leaves it to the next of its pid
	_ = unix.Unlinkat(fd, next, 0)
	file, err := unix.Openat(fd, next, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", dir, next, err)
	}
	out := os.NewFile(uintptr(file), next)
	_, err = out.WriteString(text)
	err = errors.Join(err, out.Chmod(0o644), out.Close())
	if err == nil {
		err = unix.Renameat(fd, next, fd, name)
	}
	if err != nil {
		_ = unix.Unlinkat(fd, next, 0)
		return fmt.Errorf("%s/%s: %w", dir, name, err)
	}
	return nil
}
