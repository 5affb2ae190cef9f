// SPDX-License-Identifier: Apache-2.0

package life

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/labs"
)

// set gives a key to the profile's containers in the lab's berth.toml, where some have been set.
func (l life) set(t *testing.T, key, value string) {
	t.Helper()
	l.Exec(t, "sed", "-i", `/^\[profile\.own\.container\]$/a `+key+" = "+value, "/etc/berth/berth.toml")
}

// A container of that name that berth has not made for this user is not touched.
func TestForeignContainer(t *testing.T) {
	l := begin(t, "", "", "")
	name := l.container(t, "alice")
	for what, labels := range map[string][]string{
		"without labels": nil,
		"another's":      {"--label", "berth.mode=user", "--label", "berth.uid=1"},
	} {
		t.Run(what, func(t *testing.T) {
			id := l.engine(t, append(append([]string{"run", "-d", "--network", "none", "--name", name}, labels...), "berth:busybox", "sleep", "3000")...)
			log := l.refused(t, l.login("alice", "id -un"), "your container does not run")
			if want := name + ": a container of that name is there, and berth has not made it for this user"; !strings.Contains(log, want) {
				t.Errorf("the log: %s", log)
			}
			if state := l.state(id); state != "running 0 0" {
				t.Errorf("it is %q", state)
			}
			l.works(t, "bob", "carol")
			l.remove(t, name)
		})
	}
	l.works(t, "alice")
}

// Without the image nobody gets a new container, nothing is pulled, and whoever has one goes on.
func TestImageMissing(t *testing.T) {
	p := newProxy(t)
	tag := func() {
		if out, err := exec.Command("docker", "tag", "berth:busybox", "berth:life").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	tag()
	l := begin(t, p.socket, "", "image = \"berth:life\"\n")
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "berth:life").Run() })
	l.works(t, "alice")
	l.engine(t, "rmi", "berth:life")
	pulls := p.count("/images/create")
	log := l.refused(t, l.login("carol", "id -un"), "your container does not run")
	if !strings.Contains(log, "there is no such image") {
		t.Errorf("the log: %s", log)
	}
	if n := pulls(); n != 0 {
		t.Errorf("%d pulls", n)
	}
	l.works(t, "alice", "bob")
	tag()
	l.works(t, "carol")
}

// Where there is no room for what root writes down, those who need it are refused, and nothing half is left.
func TestNoRoomForState(t *testing.T) {
	l := begin(t, "", "", "")
	l.works(t, "alice", "bob")
	for _, dir := range []string{"users", "profiles/own"} {
		at := "/var/lib/berth/" + dir
		// A file system of four inodes, in which two directories are all that fits.
		l.Exec(t, "sh", "-ec", `mount -t tmpfs -o size=4k,nr_inodes=2,mode=755 tmpfs "$1"; touch "$1/full"`, "sh", at)
		log := l.refused(t, l.login("carol", "id -un"))
		if !strings.Contains(log, "no space left on device") {
			t.Errorf("%s: the log: %s", dir, log)
		}
		l.Exec(t, "umount", at)
		l.works(t, "carol", "alice", "bob")
		l.remove(t, l.container(t, "carol"))
		l.Exec(t, "sh", "-c", "rm -r /var/lib/berth/users/$(id -u carol)* /var/lib/berth/profiles/own/*-$(id -u carol)")
	}
}

// Where the engine has no room for a container, that login is refused and nobody else; with room again all is well.
func TestNoRoomForEngine(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256m,mode=755", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	t.Setenv("TMPDIR", dir)
	e := labs.NewEngine(t, "{}")
	t.Setenv("TMPDIR", "/tmp")
	l := begin(t, e.Socket, "", "")
	l.works(t, "alice", "bob")
	full := filepath.Join(dir, "full")
	_ = exec.Command("dd", "if=/dev/zero", "of="+full, "bs=64k").Run() // until there is no room
	log := l.refused(t, l.login("carol", "id -un"), "your container does not run")
	if !strings.Contains(log, "no space left on device") {
		t.Errorf("the log: %s", log)
	}
	l.works(t, "alice", "bob")
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	l.works(t, "carol")
}

// A new policy is for the next container. Until then the old one stays, and `berth status` says so.
func TestPolicyChangesWhileLoggedIn(t *testing.T) {
	l := begin(t, "", "", "idle = \"2s\"\n")
	name := l.container(t, "alice")
	limit := func() string { return l.engine(t, "inspect", "-f", "{{.HostConfig.PidsLimit}}", name) }
	session := l.converse(t, "alice")
	l.set(t, "pids_limit", "222")
	l.works(t, "alice")
	session.goesOn(t, "after the change")
	if got := limit(); got == "222" {
		t.Errorf("the container is another one")
	}
	if status := l.Try("berth", "status"); !strings.Contains(status.Out, "user        alice: "+name+", running, 1 session; the next one will differ: pids_limit\n") {
		t.Errorf("status: %+v", status)
	}
	_ = session.in.Close()
	l.awaitState(t, name, "exited 0 0")
	l.works(t, "alice")
	if got := limit(); got != "222" {
		t.Errorf("the next container has %s", got)
	}
	if status := l.Try("berth", "status"); strings.Contains(status.Out, "will differ") {
		t.Errorf("status: %+v", status)
	}
}

// Who comes to another profile while logged in stays where the session is, and logs in to the new one.
func TestUserMovesWhileLoggedIn(t *testing.T) {
	l := begin(t, "", "", "idle = \"2s\"\n")
	l.Exec(t, "groupadd", "rowers")
	other := strings.NewReplacer("own", "other", "kayakers", "rowers").Replace(own) + "[profile.other.container]\nidle = \"2s\"\n" +
		fmt.Sprintf("[[profile.other.container.mount]]\nsource = %q\ntarget = \"%%h\"\n", l.Path("home/%u"))
	l.Exec(t, "sh", "-ec", `printf %s "$1" >>/etc/berth/berth.toml`, "sh", other)
	uid := l.uid(t, "alice")
	names := map[string]string{"own": l.container(t, "alice"), "other": l.Container(t) + "-other-" + uid}
	session := l.converse(t, "alice")
	move := func(from, to string) {
		t.Helper()
		l.Exec(t, "sh", "-ec", fmt.Sprintf("gpasswd -d alice %s; gpasswd -a alice %s", from, to))
	}
	move("kayakers", "rowers")
	l.works(t, "alice")
	if state := l.state(names["other"]); state != "running 0 0" {
		t.Errorf("the new container is %q", state)
	}
	session.goesOn(t, "after the move")
	if status := l.Try("berth", "status"); !strings.Contains(status.Out, names["own"]+", running, 1 session; the next one will differ: profile\n") {
		t.Errorf("status: %+v", status)
	}
	_ = session.in.Close()
	l.awaitState(t, names["own"], "exited 0 0")
	// To all others' container.
	l.Exec(t, "gpasswd", "-d", "alice", "rowers")
	l.works(t, "alice")
	l.awaitState(t, names["other"], "exited 0 0")
	out := l.Exec(t, "berth", "gc")
	for _, name := range names {
		if !strings.Contains(out, "container "+name+": it has ended\n") || l.state(name) != "" {
			t.Errorf("%s is left: %s", name, out)
		}
	}
	l.works(t, "alice")
}
