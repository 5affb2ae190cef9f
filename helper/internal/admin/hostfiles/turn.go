// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// slots is how many users' containers are made at once. With more the last one is not there sooner, and
// everybody else on the host waits for longer.
const slots = 2

// lockInterval is the pause between two tries to get a lock.
const lockInterval = 20 * time.Millisecond

// lockSuffix is that of a user's lock in Users.
const lockSuffix = ".lock"

// ErrSilent says that a login has waited for long enough.
var ErrSilent = errors.New("no container has been made in this time")

// Wait is a login's wait for a container. Its bound is for the silence of the engine: while others' containers
// are made before, it begins anew with each of them.
type Wait struct {
	dirs  Dirs
	start time.Time
	bound time.Duration
}

// NewWait begins a wait.
func (d Dirs) NewWait(bound time.Duration) Wait {
	return Wait{dirs: d, start: time.Now(), bound: bound}
}

// End is when the wait is over, unless a container is made before.
func (w Wait) End() time.Time {
	last := w.start
	for i := range slots {
		if st, err := os.Lstat(w.dirs.slot(i)); err == nil && st.ModTime().After(last) && st.ModTime().Before(time.Now()) {
			last = st.ModTime()
		}
	}
	return last.Add(w.bound)
}

// slot is a lock. Whoever has it may make a container; its time is that of the last one.
func (d Dirs) slot(i int) string { return filepath.Join(d.Users, ".slot"+strconv.Itoa(i)) }

// Turn is one login's turn to make a container.
type Turn struct{ lock *os.File }

// Turn waits for it.
func (w Wait) Turn(ctx context.Context) (Turn, error) {
	var all []string
	for i := range slots {
		all = append(all, w.dirs.slot(i))
	}
	lock, err := w.lock(ctx, all...)
	if err != nil {
		return Turn{}, fmt.Errorf("wait for the containers of other users: %w", err)
	}
	return Turn{lock}, nil
}

// Made notes that the engine has made a container just now.
func (t Turn) Made() { _ = os.Chtimes(t.lock.Name(), time.Time{}, time.Now()) }

// End lets the next login have its turn.
func (t Turn) End() { t.lock.Close() }

// LockUser waits until nobody else decides on, makes or removes the user's container. Closing the file gives the
// lock back.
func (w Wait) LockUser(ctx context.Context, uid uint32) (*os.File, error) {
	lock, err := w.lock(ctx, w.dirs.userLock(uid))
	if err != nil {
		return nil, fmt.Errorf("wait for another login of this user: %w", err)
	}
	return lock, nil
}

// TryLockUser is LockUser without a wait: it returns nil if somebody else has the lock.
func (d Dirs) TryLockUser(uid uint32) (*os.File, error) { return tryLock(d.userLock(uid)) }

func (d Dirs) userLock(uid uint32) string {
	return filepath.Join(d.Users, strconv.FormatUint(uint64(uid), 10)+lockSuffix)
}

// lock waits until one of the locks is free, and takes it.
func (w Wait) lock(ctx context.Context, paths ...string) (*os.File, error) {
	for {
		for _, path := range paths {
			if file, err := tryLock(path); file != nil || err != nil {
				return file, err
			}
		}
		if time.Now().After(w.End()) {
			return nil, fmt.Errorf("%w: %v", ErrSilent, w.bound)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockInterval):
		}
	}
}

// tryLock returns nil if somebody else has the lock.
func tryLock(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isAt(file, path) {
			return file, nil
		}
		file.Close()
		switch {
		case err == nil, errors.Is(err, unix.EINTR): // `berth gc` has removed the file that was locked
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, nil
		default:
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// isAt reports whether file is what path leads to now.
func isAt(file *os.File, path string) bool {
	have, err := file.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(have, now)
}
