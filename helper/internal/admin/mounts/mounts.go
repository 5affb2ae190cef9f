// SPDX-License-Identifier: Apache-2.0

// Package mounts compares what the host has mounted with what a container sees of it.
//
// Process: berth. As: root of the host. Paths in the container, and below users' homes, may be
// links that a user put there: they are followed, but never out of the container, and
// nothing is opened but as a place (O_PATH).
package mounts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// host stands for this process, whose mounts are the host's.
const host = 0

// proc is a process's directory. Ours is asked for as the thread that runs has it: the first thread, whose the
// process's own directory is, may have entered a container for good (package control).
func proc(pid int) string {
	if pid == host {
		return "/proc/thread-self"
	}
	return fmt.Sprintf("/proc/%d", pid)
}

// Mount is a line of mountinfo (proc(5)).
type Mount struct {
	ID    uint64
	Point string
	// Follows is whether it receives what is mounted elsewhere: shared or slave.
	Follows bool
	Type    string
	Options []string // the file system's own
}

// Of returns the mounts that a process sees.
func Of(pid int) ([]Mount, error) {
	text, err := os.ReadFile(proc(pid) + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []Mount
	for line := range bytes.Lines(text) {
		before, after, _ := strings.Cut(string(line), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if len(fields) < 6 || len(rest) < 3 {
			continue
		}
		id, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s/mountinfo: %w", proc(pid), err)
		}
		all = append(all, Mount{
			ID:    id,
			Point: unescape.Replace(fields[4]),
			Follows: slices.ContainsFunc(fields[6:], func(tag string) bool {
				return strings.HasPrefix(tag, "shared:") || strings.HasPrefix(tag, "master:")
			}),
			Type:    rest[0],
			Options: strings.Split(rest[2], ","),
		})
	}
	return all, nil
}

// unescape undoes what the kernel writes for characters that would break the line.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// place is what a path leads to.
type place struct {
	mount    uint64
	major    uint32
	minor    uint32
	inode    uint64
	realPath string
}

func (p place) same(other place) bool {
	return p.major == other.major && p.minor == other.minor && p.inode == other.inode
}

// lookUp follows path as the process pid would.
func lookUp(pid int, path string) (place, error) {
	fail := func(err error) (place, error) {
		return place{}, fmt.Errorf("%s, as %s sees it: %w", path, proc(pid), err)
	}
	root, err := unix.Open(proc(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	// What the kernel knows already is enough: a file server need not be asked.
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_MNT_ID, &st)
	if err != nil {
		return fail(err)
	}
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fail(err)
	}
	return place{mount: st.Mnt_id, major: st.Dev_major, minor: st.Dev_minor, inode: st.Ino, realPath: real}, nil
}

// Propagation returns how m is to be mounted: what its table says, else rslave if the
// host's mount lets it. A read-only one stays as it is, because what appeared below it could
// be written.
func Propagation(m policy.Mount) string {
	if m.Propagation != "" {
		return m.Propagation
	}
	source, err := lookUp(host, m.Source)
	if err != nil || m.ReadOnly {
		return policy.Private
	}
	all, err := Of(host)
	if err != nil || !slices.ContainsFunc(all, func(on Mount) bool { return on.ID == source.mount && on.Follows }) {
		return policy.Private
	}
	return policy.Slave
}

// Change is a mount that leads elsewhere than when the container was started.
type Change struct{ Source, Have, Want string }

// Changes compares the mounts of the container whose first process is pid with the host's.
func Changes(pid int, c policy.Container) ([]Change, error) {
	all, err := Of(host)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, m := range c.Mounts {
		inside, err := lookUp(pid, m.Target)
		if err != nil {
			continue // the container was made without it, which is another difference
		}
		source, err := lookUp(host, m.Source)
		switch {
		case errors.Is(err, unix.ENOENT):
			changes = append(changes, Change{m.Source, atStart, "there, but is gone from the host"})
		case err != nil:
			return nil, err
		case !source.same(inside):
			changes = append(changes, Change{m.Source, atStart, "what is there now"})
		default:
			if hidden := hiddenBelow(pid, m, source.realPath, all, c); len(hidden) > 0 {
				changes = append(changes, Change{m.Source, "without what is mounted now at " + summary(hidden), "with it"})
			}
		}
	}
	return changes, nil
}

const atStart = "what was there when the container was started"

// hiddenBelow returns the mounts of the host below the source of m that the container
// does not have.
func hiddenBelow(pid int, m policy.Mount, source string, all []Mount, c policy.Container) (hidden []string) {
	for _, on := range all {
		rest, below := strings.CutPrefix(on.Point, strings.TrimSuffix(source, "/")+"/")
		if !below || slices.Contains(hidden, on.Point) {
			continue
		}
		target := filepath.Join(m.Target, rest)
		if isOthers(target, m, c) {
			continue
		}
		// Mounted over, or below something that was, it is not to be seen on the host either.
		there, err := lookUp(host, on.Point)
		if err != nil || there.mount != on.ID {
			continue
		}
		if inside, err := lookUp(pid, target); err != nil || !there.same(inside) {
			hidden = append(hidden, on.Point)
		}
	}
	return hidden
}

// isOthers reports whether something else than m is mounted at path, or above it, in the
// container.
func isOthers(path string, m policy.Mount, c policy.Container) bool {
	targets := c.TmpfsPaths()
	for _, other := range c.Mounts {
		targets = append(targets, other.Target)
	}
	return slices.ContainsFunc(targets, func(target string) bool {
		return len(target) > len(m.Target) && (path == target || strings.HasPrefix(path, target+"/"))
	})
}

func summary(paths []string) string {
	switch others := len(paths) - 1; others {
	case 0:
		return paths[0]
	case 1:
		return paths[0] + " and at one other place"
	default:
		return fmt.Sprintf("%s and at %d other places", paths[0], others)
	}
}
