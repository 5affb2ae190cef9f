// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// ContainerDir is what a container shares with this host.
func (d Dirs) ContainerDir(profile, container string) string {
	return filepath.Join(d.Profiles, profile, container)
}

// ContainerDirs lists them for all containers, whether these run or not.
func (d Dirs) ContainerDirs() ([]string, error) {
	return filepath.Glob(filepath.Join(d.Profiles, "*", "*"))
}

// Socket is where the container that has dir serves sessions.
func Socket(dir string) string { return filepath.Join(dir, paths.Socket) }

// LastSeen is when the user's container was decided upon the last time: at a login, but not at each.
func (d Dirs) LastSeen(uid uint32) time.Time {
	st, err := os.Lstat(filepath.Join(d.Users, strconv.FormatUint(uint64(uid), 10)))
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// InUse reports whether somebody holds the lease of the container that has dir: a client is connected. Until
// release nobody can take it.
func InUse(dir string) (inUse bool, release func()) {
	// The container's root may put anything in its place. That is no lease, and nobody has it.
	fd, err := unix.Open(filepath.Join(dir, paths.Lease), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, func() {}
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK), func() { unix.Close(fd) }
}

// Trace is a file or directory that belongs to one user.
type Trace struct {
	UID  uint32
	Path string
	// Account: it is about the account. Else about the user's container, and made anew with that.
	Account bool
}

// Traces lists what berth has written down of single users: links, locks, records, directories of containers
// of mode user, and of sessions.
func (d Dirs) Traces(shared []policy.Policy) ([]Trace, error) {
	var all []Trace
	add := func(dir string, uidOf func(name string) string) error {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			isShared := slices.ContainsFunc(shared, func(p policy.Policy) bool { return d.Dir(p) == path })
			if uid, err := strconv.ParseUint(uidOf(entry.Name()), 10, 32); err == nil && !isShared {
				all = append(all, Trace{UID: uint32(uid), Path: path, Account: dir == d.Names || dir == d.Sessions})
			}
		}
		return nil
	}
	profiles, err := filepath.Glob(filepath.Join(d.Profiles, "*"))
	for _, dir := range []string{d.Users, d.Names, d.Sessions} {
		err = errors.Join(err, add(dir, func(name string) string { return strings.TrimSuffix(strings.TrimSuffix(name, lockSuffix), namesSuffix) }))
	}
	for _, dir := range profiles {
		// A user's container has the uid behind its profile's name.
		err = errors.Join(err, add(dir, func(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }))
	}
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return all, nil
}

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// CheckSource fails if somebody else than root could make path lead elsewhere while the engine mounts it:
// root does so for one user, and not all directories on the way need be root's. The last one, the user's
// home for example, is not on the way.
func CheckSource(path string) error {
	links := 0
	for dir, rest := "/", path; rest != ""; {
		name, after, _ := strings.Cut(rest, "/")
		rest = after
		switch name {
		case "", ".":
			continue
		case "..": // of where a link has led, as in the kernel
			dir = filepath.Dir(dir)
			continue
		}
		entry := filepath.Join(dir, name)
		if err := checkEntry(dir, entry); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		target, err := os.Readlink(entry)
		switch {
		case errors.Is(err, unix.EINVAL): // no link
			dir = entry
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		case links == maxLinks:
			return fmt.Errorf("%s: %w", path, unix.ELOOP)
		default:
			links++
			if filepath.IsAbs(target) {
				dir = "/"
			}
			rest = target + "/" + after
		}
	}
	return nil
}

// checkEntry fails if somebody else than root can exchange entry in its directory.
func checkEntry(dir, entry string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	switch {
	case st.Uid != 0:
		return fmt.Errorf("%s belongs to uid %d, who could make the path lead elsewhere", dir, st.Uid)
	case st.Mode&0o022 == 0:
		return nil
	case st.Mode&unix.S_ISVTX == 0:
		return fmt.Errorf("others than root can write in %s, and so make the path lead elsewhere", dir)
	}
	// In a sticky directory the owner of an entry alone can exchange it.
	if err := unix.Lstat(entry, &st); err != nil || st.Uid != 0 {
		return fmt.Errorf("the owner of %s could make the path lead elsewhere", entry)
	}
	return nil
}

// DrainFile is there while no sessions may begin.
func (d Dirs) DrainFile() string { return filepath.Join(d.State, paths.Drain) }

// Drain notes that no sessions may begin, and why, for all containers that are there. With drained false it
// takes that back.
func (d Dirs) Drain(drained bool, words string) error {
	dirs, err := d.ContainerDirs()
	// The host's own first: no container is made any more.
	for _, dir := range append([]string{d.State}, dirs...) {
		path := filepath.Join(dir, paths.Drain)
		if drained {
			err = errors.Join(err, ReplaceFile(path, []byte(words+"\n")))
		} else if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// copyDrained makes a container that is new take no sessions, if none may begin.
func (d Dirs) copyDrained(dir string) error {
	text, err := os.ReadFile(d.DrainFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = ReplaceFile(filepath.Join(dir, paths.Drain), text)
	}
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}
