// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// The empty network is made once, and is not the one that this process is in.
func TestEmptyNetwork(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("needs root")
	}
	path := filepath.Join(t.TempDir(), "run", "nowhere")
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	before := inode(t, "/proc/thread-self/ns/net")
	if err := makeEmptyNetwork(path); err != nil {
		t.Fatal(err)
	}
	made := inode(t, path)
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil || fs.Type != unix.NSFS_MAGIC || made == before {
		t.Errorf("%v, of type %#x, inode %d; this process is in %d", err, fs.Type, made, before)
	}
	if now := inode(t, "/proc/thread-self/ns/net"); now != before {
		t.Errorf("this process is in %d now", now)
	}
	if err := makeEmptyNetwork(path); err != nil || inode(t, path) != made {
		t.Errorf("%v: another one is made", err)
	}
}

// The mark is there while ports may be forwarded, and says whether profiles have users by name.
func TestMarkForwarding(t *testing.T) {
	dir := t.TempDir()
	d := Dirs{State: dir, EmptyNetwork: filepath.Join(dir, "no", "\x00")} // none is made
	forward := policy.Policy{Session: policy.Session{Forward: []string{policy.Local}}}
	named := []policy.Policy{{Members: []string{"nina"}}}
	for _, c := range []struct {
		config policy.Config
		beside bool
		want   string
	}{
		{policy.Config{Base: forward}, false, "marked"},
		{policy.Config{Base: forward, Profiles: named}, false, "marked users\n"},
		{policy.Config{Base: forward, Profiles: []policy.Policy{{Groups: []string{"g"}}}}, false, "marked"},
		{policy.Config{Profiles: named}, true, "marked users\n"},
		{policy.Config{}, true, "marked"},
		{policy.Config{Profiles: named}, false, ""},
		{policy.Config{}, false, ""},
	} {
		if err := d.MarkForwarding(c.config, c.beside); err != nil {
			t.Fatal(err)
		}
		got := ""
		if text, err := os.ReadFile(d.ForwardingFile()); err == nil {
			got = strings.TrimSpace("marked "+string(text)) + map[bool]string{true: "\n"}[len(text) > 0]
		}
		if got != c.want {
			t.Errorf("%+v, %v: %q, want %q", c.config.Profiles, c.beside, got, c.want)
		}
	}
}
