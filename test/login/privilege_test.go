// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// status reads lines of /proc/PID/status.
func status(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

// While a session runs, neither of its ends holds a right that the user lacks,
// and she cannot look into either.
func TestSessionHoldsNoPrivilege(t *testing.T) {
	v := lab.openVictim(t, false)
	uid := strings.TrimSpace(lab.Exec(t, "id", "-u", "alice"))
	gid := strings.TrimSpace(lab.Exec(t, "id", "-g", "alice"))
	four := func(id string) string { return strings.Join([]string{id, id, id, id}, " ") }
	engine := strings.TrimSpace(lab.Exec(t, "stat", "-L", "-c", "%g", "/run/docker.sock"))
	// reads tells whether she may open a file of a process; one of her own she may.
	reads := func(pid int, file string) bool {
		return finish(lab.asUser("alice", nil, "sh", "-c", ": <"+fmt.Sprintf("/proc/%d/%s", pid, file))).Status == 0
	}
	looked := []string{"environ", "mem", "fd/0"}
	own := lab.asUser("alice", nil, "sleep", "3000")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = own.Process.Kill()
		_ = own.Wait()
	}()
	for _, file := range looked {
		eventually(t, patience, func() (bool, string) { // commandTime it has become her
			return reads(own.Process.Pid, file), "she cannot read " + file + " of a process of her own: the test shows nothing"
		})
	}
	for name, pid := range map[string]int{"berth-session": v.helper, "the supervisor": guestOf(t, v.mark)} {
		s := status(t, pid)
		if s["Uid"] != four(uid) || s["Gid"] != four(gid) {
			t.Errorf("%s: Uid %s, Gid %s", name, s["Uid"], s["Gid"])
		}
		if strings.Contains(" "+s["Groups"]+" ", " "+engine+" ") {
			t.Errorf("%s is in the engine's group: %s", name, s["Groups"])
		}
		for _, set := range []string{"CapPrm", "CapEff", "CapAmb"} {
			if s[set] != "0000000000000000" {
				t.Errorf("%s: %s %s", name, set, s[set])
			}
		}
		for _, file := range looked {
			if reads(pid, file) {
				t.Errorf("%s: the user reads %s", name, file)
			}
		}
	}
	if s := status(t, guestOf(t, v.mark)); s["NoNewPrivs"] != "1" {
		t.Errorf("the supervisor: NoNewPrivs %s", s["NoNewPrivs"])
	}
	// The connections to the engine are closed: what is open beside stdio is
	// the lifeline and the runtime's own.
	sockets := 0
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.helper))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", v.helper, fd.Name())); strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}
	if sockets != 2 { // lifeline and syslog
		t.Errorf("berth-session holds %d sockets, want 2", sockets)
	}
}

// The container is what the policy says it is, seen from inside as a user.
func TestContainerIsHardened(t *testing.T) {
	for command, want := range map[string]string{
		"touch /x 2>&1 | grep -o Read-only":                             "Read-only\n",
		"touch /usr/libexec/berth/x 2>&1 | grep -o Read-only":           "Read-only\n",
		"ls / | grep -c host":                                           "0\n",
		"cat /sys/class/net/*/operstate | sort -u":                      "unknown\n", // lo alone
		"ls -d /proc/1 2>&1 | grep -o 'No such'":                        "No such\n",
		"grep Seccomp: /proc/self/status | tr -d '\\t'":                 "Seccomp:2\n",
		"echo x >/tmp/t && echo x >/var/tmp/t && cat /tmp/t /var/tmp/t": "x\nx\n",
	} {
		r := finish(lab.SSH("alice", command))
		if r.Out != want {
			t.Errorf("%s: %+v, want %q", command, r, want)
		}
	}
	// Each is there for somebody.
	closed := map[string]func() Result{"/home/bob": func() Result { return finish(lab.SSH("bob", "ls /home/bob")) }}
	var paths []string
	if !execTransport {
		paths = append(paths, "/run/berth/private") // what a container that serves has
	}
	if !userMode {
		paths = append(paths, "/run/berth/lifeline") // what one has that the engine may start sessions in
	}
	for _, path := range paths {
		closed[path] = func() Result { return finish(exec.Command("docker", "exec", lab.ContainerOf(t, "alice"), "ls", path)) }
	}
	for path, owner := range closed {
		if r := owner(); r.Status != 0 {
			t.Errorf("%s: its owner does not list it either: the test shows nothing: %+v", path, r)
		}
		if r := finish(lab.SSH("alice", "ls "+path)); r.Status == 0 {
			t.Errorf("alice lists %s: %s", path, r.Out)
		}
	}
	r := finish(lab.SSH("alice", "kill -9 1; cat /proc/1/environ; su root -c id </dev/null; sudo id"))
	if strings.Contains(r.Out, "uid=0") {
		t.Errorf("root: %+v", r)
	}
}
