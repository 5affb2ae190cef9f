// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// inNamespace runs the test that calls it once more, with mounts of its own, and reports
// whether this is that run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("BERTH_MOUNTS") != "" {
		return true
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "BERTH_MOUNTS=here")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return false
}

func mountTmpfs(t *testing.T, dir string, propagation uintptr) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.Mount("", dir, "", propagation, ""); err != nil {
		t.Fatal(err)
	}
}

// What is on a mount that others follow is followed itself, unless it is read-only or the
// table says otherwise; a link leads where it leads.
func TestPropagation(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := t.TempDir()
	shared, private, link := filepath.Join(dir, "shared place"), filepath.Join(dir, "private"), filepath.Join(dir, "link")
	below := filepath.Join(shared, "below")
	mountTmpfs(t, shared, unix.MS_SHARED)
	mountTmpfs(t, private, unix.MS_PRIVATE)
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("shared place", link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    policy.Mount
		want string
	}{
		{policy.Mount{Source: shared}, policy.Slave}, {policy.Mount{Source: below}, policy.Slave}, {policy.Mount{Source: link}, policy.Slave},
		{policy.Mount{Source: private}, policy.Private}, {policy.Mount{Source: dir}, policy.Private}, {policy.Mount{Source: dir + "/none"}, policy.Private},
		{policy.Mount{Source: shared, ReadOnly: true}, policy.Private}, {policy.Mount{Source: shared, Propagation: policy.Private}, policy.Private},
		{policy.Mount{Source: shared, ReadOnly: true, Propagation: policy.Slave}, policy.Slave},
	} {
		if got := Propagation(c.m); got != c.want {
			t.Errorf("%+v: %s", c.m, got)
		}
	}
}

// container is a process with mounts of its own, which have all that the host has now, and
// source at target.
func container(t *testing.T, source, target string) (pid int) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", `mount --bind "$0" "$1"; echo here; read x`, source, target)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "here\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd.Process.Pid
}

// What the host mounts later is seen, and only that.
func TestChanges(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := t.TempDir()
	home, old := filepath.Join(dir, "home"), filepath.Join(dir, "home/old")
	mountTmpfs(t, home, unix.MS_PRIVATE)
	mountTmpfs(t, old, unix.MS_PRIVATE)
	for _, name := range []string{"home/alice", "home/bob", "home/scratch", "srv", "inside"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	srv, inside := filepath.Join(dir, "srv"), filepath.Join(dir, "inside")
	c := policy.Container{
		Mounts: []policy.Mount{{Source: home, Target: home}, {Source: srv, Target: inside}, {Source: "/none", Target: "/none"}},
		Tmpfs:  map[string]string{filepath.Join(dir, "home/scratch"): "size=1m"},
	}
	pid := container(t, srv, inside)
	expect := func(when string, want ...Change) {
		t.Helper()
		got, err := Changes(pid, c)
		if err != nil || !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s: %+v, %v; want %+v", when, got, err, want)
		}
	}
	expect("nothing is mounted")
	mountTmpfs(t, filepath.Join(dir, "home/scratch"), unix.MS_PRIVATE)
	expect("where the container has a tmpfs of its own")
	mountTmpfs(t, filepath.Join(dir, "home/alice"), unix.MS_PRIVATE)
	expect("one place below", Change{home, "without what is mounted now at " + home + "/alice", "with it"})
	mountTmpfs(t, old, unix.MS_PRIVATE)
	expect("one more, over another", Change{home, "without what is mounted now at " + home + "/alice and at one other place", "with it"})
	if err := os.Rename(srv, srv+".old"); err != nil {
		t.Fatal(err)
	}
	gone := Change{srv, "what was there when the container was started", "there, but is gone from the host"}
	expect("gone", Change{home, "without what is mounted now at " + home + "/alice and at one other place", "with it"}, gone)
	mountTmpfs(t, srv, unix.MS_PRIVATE)
	mountTmpfs(t, home, unix.MS_PRIVATE)
	// What lies below the new one is not to be seen on the host any more either.
	const was, is = "what was there when the container was started", "what is there now"
	expect("mounted over", Change{home, was, is}, Change{srv, was, is})
	if err := unix.Unmount(home, 0); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{old, filepath.Join(dir, "home/alice"), srv} {
		if err := unix.Unmount(place, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(srv); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(srv+".old", srv); err != nil {
		t.Fatal(err)
	}
	expect("as it was")
}

// The goroutine of TestMain keeps the first thread.
func init() { runtime.LockOSThread() }

// As in a `berth` that has settled a container on its first thread, that one is elsewhere for good.
func TestMain(m *testing.M) {
	status := make(chan int)
	go func() { status <- m.Run() }()
	err := unix.Unshare(unix.CLONE_FS)
	if err == nil {
		err = unix.Chroot("/proc/self/fdinfo")
	}
	if err != nil {
		panic(err)
	}
	os.Exit(<-status)
}
