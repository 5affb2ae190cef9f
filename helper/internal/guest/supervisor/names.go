// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest. As: container root, whose only capabilities are SETUID
// and SETGID. The names come from berth-session's NSS lookup by way of the
// lifeline; they are checked here again before a line is made of them.

package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"berth/helper/internal/link/lifeline"

	"golang.org/x/sys/unix"
)

// In bytes.
const (
	maxNameLength  = 256
	maxFieldLength = 4096
)

// validName reports whether s may stand as a name in passwd(5) and group(5).
// Directory servers use spaces, backslashes and letters of any script.
func validName(s string) bool {
	return s != "" && s != "root" && len(s) <= maxNameLength && !strings.HasPrefix(s, "+") && !strings.HasPrefix(s, "-") &&
		!strings.ContainsAny(s, ",/") && validField(s)
}

func validField(s string) bool {
	if !utf8.ValidString(s) || len(s) > maxFieldLength {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' })
}

// checkNames fails on names that would forge a line, and blanks what is only
// decoration.
func checkNames(n *lifeline.Names) error {
	if !validName(n.User) {
		return fmt.Errorf("user name %q cannot be recorded", n.User)
	}
	if !filepath.IsAbs(n.Home) || !validField(n.Home) {
		return fmt.Errorf("home %q is not an absolute path", n.Home)
	}
	if !validField(n.Gecos) {
		n.Gecos = ""
	}
	for gid, name := range n.Groups {
		if !validName(name) || gid == 0 {
			delete(n.Groups, gid) // a number, as on a host that does not know it
		}
	}
	for _, shell := range n.Shells {
		if !filepath.IsAbs(shell) || !validField(shell) {
			return fmt.Errorf("shell %q is not an absolute path", shell)
		}
	}
	return nil
}

// recordNames makes the container's libc name the peer's ids. dir holds the passwd
// and group that libc reads, base the image's own lines. Several sessions may do so
// at once.
func recordNames(dir, base string, peer lifeline.Peer, names lifeline.Names, shell string) error {
	lock, err := unix.Open(filepath.Join(dir, ".lock"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("%s/.lock: %w", dir, err)
	}
	defer unix.Close(lock)
	if err := unix.Flock(lock, unix.LOCK_EX); err != nil {
		return fmt.Errorf("%s/.lock: %w", dir, err)
	}
	user := passwdLine(peer, names, shell)
	err = updateFile(dir, base, "passwd", func(old []string) []string { return mergePasswd(old, names.User, peer.UID, user) })
	if err != nil {
		return err
	}
	return updateFile(dir, base, "group", func(old []string) []string { return mergeGroups(old, peer, names) })
}

// updateFile rewrites dir/file by fn, atomically, and only when it changes.
func updateFile(dir, base, file string, fn func([]string) []string) error {
	path := filepath.Join(dir, file)
	old, err := os.ReadFile(path)
	first := errors.Is(err, os.ErrNotExist)
	if first {
		old, err = os.ReadFile(filepath.Join(base, file))
		if errors.Is(err, os.ErrNotExist) {
			old, err = fallbackLines[file], nil
		}
	}
	if err != nil {
		return fmt.Errorf("names: %w", err)
	}
	lines := strings.FieldsFunc(string(old), func(r rune) bool { return r == '\n' })
	updated := []byte(strings.Join(fn(lines), "\n") + "\n")
	if !first && bytes.Equal(updated, old) {
		return nil
	}
	// The lock makes this name ours alone.
	next := path + ".new"
	if err := os.WriteFile(next, updated, 0o644); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	// berth-guest's umask is the engine's choice.
	if err := os.Chmod(next, 0o644); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	return nil
}

// fallbackLines serve an image that brings no lines of its own.
var fallbackLines = map[string][]byte{
	"passwd": []byte("root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
	"group":  []byte("root:x:0:\nnogroup:x:65534:\n"),
}

func passwdLine(peer lifeline.Peer, n lifeline.Names, shell string) string {
	return fmt.Sprintf("%s:x:%d:%d:%s:%s:%s", n.User, peer.UID, peer.GID, n.Gecos, n.Home, shell)
}

// mergePasswd puts line first and drops others of the same name or uid: the
// host's accounts win over the image's.
func mergePasswd(old []string, name string, uid uint32, line string) []string {
	id := strconv.FormatUint(uint64(uid), 10)
	if slices.Contains(old, line) && countMatching(old, name, id) == 1 {
		return old
	}
	return append([]string{line}, slices.DeleteFunc(slices.Clone(old), func(l string) bool { return lineMatches(l, name, id) })...)
}

func countMatching(lines []string, name, id string) (n int) {
	for _, l := range lines {
		if lineMatches(l, name, id) {
			n++
		}
	}
	return n
}

// lineMatches reports whether a line of passwd or group is of this name or id.
func lineMatches(line, name, id string) bool {
	fields := strings.SplitN(line, ":", 4)
	return len(fields) > 2 && (fields[0] == name || fields[2] == id)
}

// mergeGroups names the peer's groups as the host does and makes the user a
// member of these and of no other.
func mergeGroups(old []string, peer lifeline.Peer, n lifeline.Names) []string {
	lines := slices.Clone(old)
	for i, line := range lines {
		lines[i] = removeMember(line, n.User)
	}
	gids := append([]uint32{peer.GID}, peer.Groups...)
	slices.Sort(gids)
	for _, gid := range slices.Compact(gids) {
		name := n.Groups[gid]
		if name == "" {
			continue
		}
		id := strconv.FormatUint(uint64(gid), 10)
		members := []string{n.User}
		at := slices.IndexFunc(lines, func(l string) bool { return lineMatches(l, name, id) })
		if at >= 0 {
			if f := strings.Split(lines[at], ":"); len(f) == 4 && f[2] == id && f[3] != "" {
				members = append(strings.Split(f[3], ","), n.User)
			}
		}
		line := name + ":x:" + id + ":" + strings.Join(members, ",")
		if at >= 0 && countMatching(lines, name, id) == 1 {
			lines[at] = line // in its place, so that a second login changes nothing
			continue
		}
		lines = append([]string{line}, slices.DeleteFunc(lines, func(l string) bool { return lineMatches(l, name, id) })...)
	}
	return lines
}

func removeMember(line, user string) string {
	fields := strings.Split(line, ":")
	if len(fields) != 4 || !strings.Contains(fields[3], user) {
		return line
	}
	members := slices.DeleteFunc(strings.Split(fields[3], ","), func(m string) bool { return m == user })
	return strings.Join(append(fields[:3], strings.Join(members, ",")), ":")
}
