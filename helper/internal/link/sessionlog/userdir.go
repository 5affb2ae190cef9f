// SPDX-License-Identifier: Apache-2.0

package sessionlog

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dir has a directory UID for each user, which is the user's: pam_berth.so
// makes it (pam/sessions.c has the same path and names). In it are
//
//   - ID.PID, an empty file for each session that has no end yet. Whoever removes it
//     writes the end: berth-session, or root when that was killed;
//   - rate: its time of modification says until when what was written counts;
//   - omitted: its size is how many sessions were left out and not yet told.
//
// Nothing is ever read from these files: what a name, a size or a time says, root
// can look at.
const Dir = "/var/lib/berth/sessions"

// What one user can write: this many sessions at once, and one more in each
// interval; a command counts as one more for each further KiB.
const (
	burst    = 200
	interval = 500 * time.Millisecond
)

type userDir string

func (d userDir) path(name string) string { return string(d) + "/" + name }

func (d userDir) file(id string, pid int) string { return d.path(fmt.Sprintf("%s.%d", id, pid)) }

// create makes the session's file. Without the directory there is none: PAM has
// not opened this session.
func (d userDir) create(id string) bool {
	return unix.Mknod(d.file(id, os.Getpid()), unix.S_IFREG|0o600, 0) == nil
}

func (d userDir) remove(id string) error { return unix.Unlink(d.file(id, os.Getpid())) }

// allow says whether a session with a command of size bytes may be written, and
// whether with the whole command.
func (d userDir) allow(size int) (whole, any bool) {
	fd, err := unix.Open(d.path("rate"), unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return true, true
	}
	defer unix.Close(fd) // and the lock with it
	var st unix.Stat_t
	if err := errors.Join(lock(fd), unix.Fstat(fd, &st)); err != nil {
		return true, true
	}
	now, used := time.Now(), time.Unix(st.Mtim.Unix())
	cost := 1 + size/1024
	until, whole := take(now, used, cost)
	any = whole
	if !whole && cost > 1 {
		until, any = take(now, used, 1)
	}
	if !any {
		return false, false
	}
	times := []unix.Timespec{unix.NsecToTimespec(until.UnixNano()), unix.NsecToTimespec(until.UnixNano())}
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, d.path("rate"), times, unix.AT_SYMLINK_NOFOLLOW)
	return whole, true
}

// take takes cost from a bucket that is empty until used is past (the "generic cell
// rate algorithm"), and returns its new time.
func take(now, used time.Time, cost int) (time.Time, bool) {
	const full = burst * interval
	if used.Before(now) {
		used = now
	}
	if used.After(now.Add(full)) {
		used = now.Add(full) // somebody has set the clock back
	}
	next := used.Add(time.Duration(cost) * interval)
	return next, !next.After(now.Add(full))
}

// lock waits for a moment: who holds it makes a few system calls.
func lock(fd int) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			return err
		}
	}
}

// omit counts one session more that is left out.
func (d userDir) omit() {
	fd, err := unix.Open(d.path("omitted"), unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err == nil {
		_, _ = unix.Write(fd, []byte{'.'})
		unix.Close(fd)
	}
}

// unsaid returns how many were left out that nobody has told of. Whoever removes the
// file does.
func (d userDir) unsaid() int64 {
	var st unix.Stat_t
	if unix.Lstat(d.path("omitted"), &st) != nil || unix.Unlink(d.path("omitted")) != nil {
		return 0
	}
	return st.Size
}
