// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/labs"

	"golang.org/x/sys/unix"
)

// bindOnHosts mounts one directory on another on the machine, where the engine sees it, and in
// the lab, where berth does.
func bindOnHosts(t *testing.T, l *labs.Lab, source, target string) {
	t.Helper()
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	l.Exec(t, "mount", "--bind", source, target)
}

// hostTree makes directories, each with a file of its name in it.
func hostTree(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "is-"+filepath.Base(name)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// remount has the lab's container made with more mounts than the lab's own.
func remount(t *testing.T, l *labs.Lab, tables string) {
	t.Helper()
	l.Exec(t, "sh", "-c", `echo "$1" >>/etc/berth/berth.toml; berth up --recreate`, "sh", tables)
}

// What is mounted over a source after the container's start is reported, with what to do;
// until then users are in the old directory.
func TestMountedOver(t *testing.T) {
	dir := hostTree(t, "place", "other")
	place := filepath.Join(dir, "place")
	l := labs.New(t, "")
	remount(t, l, "[[container.mount]]\nsource = \""+place+"\"\ntarget = \"/srv/place\"")
	sees := func(want string) {
		t.Helper()
		if r := labs.Finish(l.SSH("alice", "ls /srv/place")); r.Out != want+"\n" {
			t.Errorf("alice sees %+v, want %s", r, want)
		}
	}
	unchanged := func(when string) {
		t.Helper()
		if r := l.Try("berth", "status"); r.Status != 0 || strings.Contains(r.Out, "differs") {
			t.Errorf("%s: status: %+v", when, r)
		}
		if r := l.Try("berth", "up"); r.Status != 0 || strings.Contains(r.Out, "should be") {
			t.Errorf("%s: up: %+v", when, r)
		}
	}
	sees("is-place")
	unchanged("at first")
	bindOnHosts(t, l, filepath.Join(dir, "other"), place)
	sees("is-place")
	words := "mount " + place + `: is "what was there when the container was started", should be "what is there now"`
	if r := l.Try("berth", "status"); r.Status != 0 || !strings.Contains(r.Out, "differs     "+words+"\n") {
		t.Errorf("status: %+v", r)
	}
	if r := l.Try("berth", "up"); r.Status != 1 || !strings.Contains(r.Out, words) || !strings.Contains(r.Err, "`berth up --recreate`") {
		t.Errorf("up: %+v", r)
	}
	sees("is-place")
	if out := l.Exec(t, "berth", "up", "--recreate"); !strings.Contains(out, "is created and runs") {
		t.Errorf("recreate: %s", out)
	}
	sees("is-other")
	unchanged("at last")
}

// What is mounted below a source appears where the mount is a slave, and is reported where
// it is private.
func TestMountedBelow(t *testing.T) {
	dir := hostTree(t, "other")
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", shared, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(shared, unix.MNT_DETACH) })
	if err := unix.Mount("", shared, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(shared, "late"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := labs.New(t, "")
	table := func(target, propagation string) string {
		return "[[container.mount]]\nsource = \"" + shared + "\"\ntarget = \"" + target + "\"\npropagation = \"" + propagation + "\"\n"
	}
	remount(t, l, table("/srv/slave", "rslave")+table("/srv/private", "rprivate"))
	look := func() string {
		return labs.Finish(l.SSH("alice", "ls /srv/slave/late; echo; ls /srv/private/late")).Out
	}
	if got := look(); got != "\n" {
		t.Errorf("at first: %q", got)
	}
	bindOnHosts(t, l, filepath.Join(dir, "other"), filepath.Join(shared, "late"))
	if got := look(); got != "is-other\n\n" {
		t.Errorf("after the mount: %q", got)
	}
	r := l.Try("berth", "status")
	words := "mount " + shared + `: is "without what is mounted now at ` + shared + `/late", should be "with it"`
	if strings.Count(r.Out, "differs ") != 1 || !strings.Contains(r.Out, words) {
		t.Errorf("status: %+v", r)
	}
	l.Exec(t, "berth", "up", "--recreate")
	if got := look(); got != "is-other\n\nis-other\n" {
		t.Errorf("made anew: %q", got)
	}
}
