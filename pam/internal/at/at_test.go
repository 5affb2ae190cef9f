// SPDX-License-Identifier: Apache-2.0

package at

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const uid, other = 4711, 4712

// tree is a directory in which the names given are directories of the owners
// given.
func tree(t *testing.T, owners ...any) (dir string, fd int) {
	t.Helper()
	dir = t.TempDir()
	for i := 0; i < len(owners); i += 2 {
		path := filepath.Join(dir, owners[i].(string))
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chown(path, owners[i+1].(int), -1)); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return dir, fd
}

// What a user has moved into a directory of hers, and could not remove there
// herself, is not removed by root for her.
func TestRemoveAll(t *testing.T) {
	for name, c := range map[string]struct {
		owners []any
		gone   bool
	}{
		"being made: root's and hers": {[]any{"home", 0, "home/sub", uid, "home/.ssh", 0}, true},
		"hers":                        {[]any{"home", uid, "home/sub", uid}, true},
		"another's in hers":           {[]any{"home", uid, "home/sub", uid, "home/sub/theirs", other}, false},
		"root's in hers":              {[]any{"home", uid, "home/theirs", 0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, fd := tree(t, c.owners...)
			err := RemoveAll(fd, "home")
			if _, gone := os.Lstat(filepath.Join(dir, "home")); (gone != nil) != c.gone || (err == nil) != c.gone {
				t.Errorf("gone %v, %v", gone, err)
			}
		})
	}
}

// A user's lease on a file, which makes an open wait or fail for 45 seconds,
// keeps no sweep.
func TestSweepUnderALease(t *testing.T) {
	dir, fd := tree(t)
	file, err := os.Create(filepath.Join(dir, "prefix.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(fd, "prefix.1", unix.O_RDONLY|unix.O_NONBLOCK, 0, false); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("open: %v", err)
	}
	Sweep(fd, "prefix.", Remove)
}

// Somebody's file under a name of ours is neither opened nor removed.
func TestSweepOpensNoOthersFile(t *testing.T) {
	dir, fd := tree(t)
	victim := filepath.Join(dir, "victim")
	for _, name := range []string{victim, filepath.Join(dir, "prefix.left")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(victim, filepath.Join(dir, "prefix.planted")); err != nil {
		t.Fatal(err)
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, victim, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	Sweep(fd, "prefix.", Remove)
	if _, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("it was opened: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "prefix.left")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left is still there: %v", err)
	}
}

// However many names are planted, a login removes some and goes on.
func TestSweepIsBounded(t *testing.T) {
	dir, fd := tree(t)
	for i := range 2 * maxSwept {
		if err := os.WriteFile(filepath.Join(dir, "prefix."+string(rune('a'+i))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	Sweep(fd, "prefix.", Remove)
	if left, err := os.ReadDir(dir); err != nil || len(left) != maxSwept {
		t.Errorf("%d left, %v", len(left), err)
	}
}

// Links are followed in root's directories, and nowhere else.
func TestWalk(t *testing.T) {
	// Not t.TempDir, below which others may write.
	dir, err := os.MkdirTemp("/var", "berth-at-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for path, owner := range map[string]int{"": 0, "roots": 0, "hers": uid, "hers/sub": uid, "theirs": other, "theirs/roots": 0} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o755), os.Chown(path, owner, -1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"link", "hers/link", "hers/sub/up"} {
		if err := os.Symlink(filepath.Join(dir, "roots"), filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path             string
		roots, hers, any bool // Walk for root, Walk for her, Reach for her
	}{
		{"roots", true, true, true}, {"link", true, true, true}, {"hers", false, true, true}, {"hers/sub", false, true, true},
		{"hers/link", false, false, false}, {"hers/sub/up", false, false, false},
		{"theirs", false, false, true}, {"theirs/roots", false, false, false},
	} {
		path := filepath.Join(dir, c.path)
		for what, open := range map[string]struct {
			call func() (int, error)
			want bool
		}{
			"root":  {func() (int, error) { return Walk(path, 0, false) }, c.roots},
			"her":   {func() (int, error) { return Walk(path, uid, false) }, c.hers},
			"reach": {func() (int, error) { return Reach(path, uid, false) }, c.any},
		} {
			fd, err := open.call()
			if err == nil {
				unix.Close(fd)
			}
			if (err == nil) != open.want {
				t.Errorf("%s for %s: %v", c.path, what, err)
			}
		}
	}
}
