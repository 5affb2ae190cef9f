// SPDX-License-Identifier: Apache-2.0
//
// Process: berth up. As: root.

package sessionlog

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mostNames bounds what is looked at in one user's directory.
const mostNames = 4096

// Prepare makes dir, which is Dir, in which pam_berth.so makes the users' directories, and writes
// the ends of sessions that nobody is left to write: the host has crashed, or sshd
// was killed with them.
func Prepare(dir string) error {
	return prepare(dir, (&sink{journal: journalSocket, syslog: syslogSocket}).send)
}

func prepare(dir string, out func(int, []field)) error {
	// Users pass, and root alone changes anything.
	err := os.MkdirAll(dir, 0o711)
	if err == nil {
		err = errors.Join(os.Chown(dir, 0, 0), os.Chmod(dir, 0o711))
	}
	if err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	users, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	for _, user := range users {
		if uid, err := strconv.ParseUint(user.Name(), 10, 32); err == nil {
			sweep(dir+"/"+user.Name(), int(uid), out)
		}
	}
	return nil
}

// sweep goes by names alone: the directory is the user's, and may hold anything.
func sweep(path string, uid int, out func(int, []field)) {
	fd, found := openSessions(path)
	if fd < 0 {
		return
	}
	defer unix.Close(fd)
	for id, pid := range found {
		if unix.Kill(pid, 0) == nil {
			continue
		}
		// Whoever removes the file writes the end.
		if unix.Unlinkat(fd, fmt.Sprintf("%s.%d", id, pid), 0) == nil {
			out(events[lost].priority, []field{{"event", events[lost].name, false}, {"id", id, true},
				{"uid", strconv.Itoa(uid), true}, {"reason", "berth-session was killed, and its connection with it", true}})
		}
	}
}

// Unended returns the sessions of a user's directory that have no end yet: berth-session's pid for each id.
func Unended(path string) map[string]int {
	fd, found := openSessions(path)
	if fd >= 0 {
		unix.Close(fd)
	}
	return found
}

// openSessions opens a user's directory, and returns which sessions its names are of.
func openSessions(path string) (fd int, found map[string]int) {
	found = map[string]int{}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, found
	}
	list, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fd, found
	}
	defer list.Close()
	names, _ := list.Readdirnames(mostNames)
	for _, name := range names {
		id, digits, _ := strings.Cut(name, ".")
		if pid, err := strconv.Atoi(digits); err == nil && pid > 0 && validID(id) && strconv.Itoa(pid) == digits {
			found[id] = pid
		}
	}
	return fd, found
}
