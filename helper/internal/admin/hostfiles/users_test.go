// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// A path that somebody else than root could make lead elsewhere is no source of a mount.
func TestCheckSource(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	const alice = 31001
	for name, c := range map[string]struct {
		dirs  []string // "path mode owner", in this order
		links [][2]string
		check string
		want  string // of the error; "": none
	}{
		"a home":                             {dirs: []string{"home 755 0", "home/alice 700 31001"}, check: "home/alice"},
		"a home that everybody may write to": {dirs: []string{"home 755 0", "home/alice 777 31001"}, check: "home/alice"},
		"below a home": {dirs: []string{"home 755 0", "home/alice 700 31001", "home/alice/data 755 0"}, check: "home/alice/data",
			want: "belongs to uid 31001"},
		"a parent of a group's":       {dirs: []string{"home 775 0", "home/alice 700 31001"}, check: "home/alice", want: "others than root can write in"},
		"a parent of everybody's":     {dirs: []string{"home 777 0", "home/alice 700 31001"}, check: "home/alice", want: "others than root can write in"},
		"sticky, the user's":          {dirs: []string{"tmp 1777 0", "tmp/alice 700 31001"}, check: "tmp/alice", want: "the owner of"},
		"sticky, root's":              {dirs: []string{"tmp 1777 0", "tmp/alice 700 0"}, check: "tmp/alice"},
		"sticky, of somebody else's":  {dirs: []string{"tmp 1777 31002", "tmp/alice 700 0"}, check: "tmp/alice", want: "belongs to uid 31002"},
		"sticky further up":           {dirs: []string{"tmp 1777 0", "tmp/home 755 31001", "tmp/home/alice 755 0"}, check: "tmp/home/alice", want: "the owner of"},
		"a link of root's":            {dirs: []string{"disk 755 0", "disk/alice 700 31001", "home 755 0"}, links: [][2]string{{"home/alice", "../disk/alice"}}, check: "home/alice"},
		"an absolute link on the way": {dirs: []string{"disk 755 0", "disk/alice 700 31001"}, links: [][2]string{{"home", "/disk"}}, check: "home/alice"},
		"a link to where others write": {dirs: []string{"pool 777 0", "pool/alice 700 0", "home 755 0"}, links: [][2]string{{"home/alice", "../pool/alice"}}, check: "home/alice",
			want: "others than root can write in"},
		"a link through a home": {dirs: []string{"home 755 0", "home/bob 755 31002", "home/bob/x 755 0"}, links: [][2]string{{"home/alice", "bob/x"}}, check: "home/alice",
			want: "belongs to uid 31002"},
		"links in a circle":         {dirs: []string{"home 755 0"}, links: [][2]string{{"home/alice", "bob"}, {"home/bob", "alice"}}, check: "home/alice", want: "too many levels"},
		"a link that leads nowhere": {dirs: []string{"home 755 0"}, links: [][2]string{{"home/alice", "../none"}}, check: "home/alice", want: "no such file"},
		"none":                      {dirs: []string{"home 755 0"}, check: "home/alice", want: "no such file"},
		"dots of a link":            {dirs: []string{"home 755 0", "home/bob 755 31002", "home/alice 700 31001"}, links: [][2]string{{"way", "home/bob/../alice"}}, check: "way"},
		"dots behind a link": {dirs: []string{"home 755 0", "home/alice 700 31001", "pool 777 0", "pool/dir 755 0", "pool/alice 700 0"},
			links: [][2]string{{"home/bob", "../pool/dir"}, {"way", "home/bob/../alice"}}, check: "way", want: "others than root can write in"},
	} {
		t.Run(name, func(t *testing.T) {
			root := sourceRoot(t)
			for _, dir := range c.dirs {
				words := strings.Fields(dir)
				var mode uint32
				for _, digit := range words[1] {
					mode = mode*8 + uint32(digit-'0')
				}
				owner := map[string]int{"0": 0, "31001": alice, "31002": alice + 1}[words[2]]
				path := filepath.Join(root, words[0])
				if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, owner, owner), unix.Chmod(path, mode)); err != nil {
					t.Fatal(err)
				}
			}
			for _, link := range c.links {
				target := link[1]
				if filepath.IsAbs(target) {
					target = filepath.Join(root, target)
				}
				if err := os.Symlink(target, filepath.Join(root, link[0])); err != nil {
					t.Fatal(err)
				}
			}
			err := CheckSource(filepath.Join(root, c.check))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// sourceRoot is a directory that nobody but root could exchange, nor what is above it.
func sourceRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "berth-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What a container's root puts into the directory that it shares with the host is not followed by the host's root.
func TestPlantedFiles(t *testing.T) {
	d, p := host(t, policy.Direct)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
		t.Fatal(err)
	}
	dir := d.Dir(p)
	for _, name := range []string{"rules", "rules.new", "drain", "drain.new", paths.Lease, paths.Unsettled, "socket", "control"} {
		_ = os.Remove(filepath.Join(dir, name))
		if err := os.Symlink(victim, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
		t.Error(err)
	}
	if err := d.Drain(true, "words"); err != nil {
		t.Error(err)
	}
	if inUse, release := InUse(dir); inUse {
		t.Error("a link is no lease")
	} else {
		release()
	}
	for _, name := range []string{"rules", "drain"} {
		if st, err := os.Lstat(filepath.Join(dir, name)); err != nil || !st.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if err := d.Drain(false, ""); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(victim); string(text) != "untouched" {
		t.Errorf("the victim: %q, %v", text, err)
	}
	if st, err := os.Stat(victim); err != nil || st.Mode() != 0o644 {
		t.Errorf("the victim: %v, %v", st, err)
	}
}

// A lease that somebody has is seen, and is still theirs afterwards.
func TestInUse(t *testing.T) {
	dir := t.TempDir()
	check := func(want bool) {
		t.Helper()
		inUse, release := InUse(dir)
		release()
		if inUse != want {
			t.Errorf("in use: %v", inUse)
		}
	}
	check(false)
	lease, err := os.Create(filepath.Join(dir, paths.Lease))
	if err != nil {
		t.Fatal(err)
	}
	check(false)
	if err := unix.Flock(int(lease.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	check(true)
	check(true)
	lease.Close()
	check(false)
}

// Of many who wait as many have their turn at once as there are slots; a wait lasts for as long as others come to
// their end, and for its bound when they do not.
func TestTurn(t *testing.T) {
	d := Dirs{Users: t.TempDir()}
	const bound = 300 * time.Millisecond
	var now, most atomic.Int32
	errs := make(chan error)
	const logins = 20
	for range logins {
		go func() {
			turn, err := d.NewWait(bound).Turn(t.Context())
			if err == nil {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(bound / 6) // the making; ten times that is more than the bound
				now.Add(-1)
				turn.Made()
				turn.End()
			}
			errs <- err
		}()
	}
	for range logins {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n != slots {
		t.Errorf("%d at once", n)
	}
	for range slots {
		turn, err := d.NewWait(bound).Turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer turn.End()
	}
	start := time.Now()
	if _, err := d.NewWait(bound).Turn(t.Context()); !errors.Is(err, ErrSilent) || time.Since(start) < bound/2 {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.NewWait(time.Hour).Turn(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A lock's file may be removed by whoever has the lock; nobody else then takes the one that is gone for it.
func TestLockUser(t *testing.T) {
	d := Dirs{Users: t.TempDir()}
	first, err := d.TryLockUser(7)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := d.TryLockUser(7); second != nil || err != nil {
		t.Error("two have it", err)
	}
	if other, err := d.TryLockUser(8); other == nil || err != nil {
		t.Error("users wait for each other", err)
	}
	var inside atomic.Int32
	done := make(chan error)
	for range 8 {
		go func() {
			lock, err := d.NewWait(time.Minute).LockUser(t.Context(), 7)
			if err == nil {
				if inside.Add(1) != 1 {
					err = errors.New("two have it")
				}
				time.Sleep(time.Millisecond)
				inside.Add(-1)
				_ = os.Remove(lock.Name())
				lock.Close()
			}
			done <- err
		}()
	}
	_ = os.Remove(first.Name())
	first.Close()
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := os.Symlink("/etc/hostname", d.userLock(9)); err != nil {
		t.Fatal(err)
	}
	if lock, err := d.TryLockUser(9); lock != nil || err == nil {
		t.Error("a link is followed")
	}
}
