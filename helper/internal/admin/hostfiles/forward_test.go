// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"os"
	"path/filepath"
	"testing"

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
