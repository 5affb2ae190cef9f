// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/labs"
)

// With the engine stopped or hung a login by an exec is refused in bounded time, in one
// line, the admin gets in, and all is well when the engine is back.
func TestEngineGone(t *testing.T) {
	e := labs.NewEngine(t, "{}")
	l := newLab(t, fmt.Sprintf("transport = \"exec\"\n[engine]\nsocket = %q\ntimeout = \"3s\"\n[container]\nimage = \"berth:busybox\"\n", e.Socket))
	works := func() {
		t.Helper()
		eventually(t, patience, func() (bool, string) {
			r := finish(l.SSH("alice", "id -un"))
			return r.Out == "alice\n", fmt.Sprintf("%+v", r)
		})
	}
	refused := func() {
		t.Helper()
		start := time.Now()
		log := l.refusal(t, finish(l.SSH("alice", "id -un")), "engine does not answer", "try again")
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
		if !strings.Contains(log, "session failed") {
			t.Errorf("the log has no reason: %s", log)
		}
		if r := finish(l.SSH("admin", "id -un")); r.Out != "admin\n" {
			t.Errorf("the admin: %+v", r)
		}
	}
	works()
	e.Stop()
	refused()
	e.Start()
	works()
	e.Signal(syscall.SIGSTOP)
	refused()
	e.Signal(syscall.SIGCONT)
	works()
}

// A container that is stopped or paused is healed by the next login; in mode user one that is stopped or
// gone is made anew, and a paused one is an administrator's doing.
func TestContainerHealed(t *testing.T) {
	l := newLab(t, "")
	logsIn := func(after string) {
		t.Helper()
		if r := finish(l.SSH("alice", "id -un")); r.Out != "alice\n" || r.Err != "" && !userMode {
			t.Errorf("%s: %+v", after, r)
		}
	}
	logsIn("at first")
	name := l.ContainerOf(t, "alice")
	for _, state := range []string{"pause", "stop", "kill"} {
		if userMode && state == "pause" {
			continue
		}
		docker(t, state, name)
		logsIn(state)
	}
	docker(t, "rm", "-f", name)
	if userMode {
		logsIn("rm")
		return
	}
	log := l.refusal(t, finish(l.SSH("alice", "id -un")), "no container")
	if !strings.Contains(log, name) {
		t.Errorf("the log does not name the container: %s", log)
	}
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, "created") {
		t.Errorf("berth up: %s", out)
	}
	if out := l.run(t, "alice", "id -un"); out != "alice\n" {
		t.Errorf("after berth up: %q", out)
	}
}

func TestContainerNotHealed(t *testing.T) {
	l := newLab(t, "[container]\nheal = false\n")
	name := l.Container(t)
	for _, c := range [][2]string{{"pause", "paused"}, {"stop", "not running"}} {
		docker(t, c[0], name)
		l.refusal(t, finish(l.SSH("alice", "id -un")), c[1])
		if c[0] == "pause" {
			docker(t, "unpause", name)
		}
	}
}

// The admin's command: what differs is said, and changed only when asked for.
func TestBerthCommand(t *testing.T) {
	l := newLab(t, "")
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, "runs") || strings.Contains(out, "should be") {
		t.Errorf("up again: %s", out)
	}
	l.Exec(t, "sed", "-i", `s/^\[container\]/[container]\npids_limit = 99/`, "/etc/berth/berth.toml")
	r := l.Try("berth", "up")
	if r.Status != 1 || !strings.Contains(r.Out, `pids_limit: is "16384", should be "99"`) || !strings.Contains(r.Err, "--recreate") {
		t.Errorf("up, differing: %+v", r)
	}
	if r := l.Try("berth", "status", "--json"); !strings.Contains(r.Out, `"key": "pids_limit"`) || !strings.Contains(r.Out, `"status": "running"`) {
		t.Errorf("status: %+v", r)
	}
	// What refused logins left is swept.
	l.refusal(t, finish(l.asUser("alice", nil, berthSession, "bob")))
	if out := l.Exec(t, "ls", "/var/lib/berth/lifeline"); execTransport && strings.Count(out, "\n") != 1 {
		t.Errorf("lifelines: %q", out)
	}
	l.Try("berth", "up")
	if out := l.Exec(t, "ls", "/var/lib/berth/lifeline"); out != "" {
		t.Errorf("lifelines after berth up: %q", out)
	}
	s := l.shell(t, "alice")
	if out := l.Exec(t, "berth", "status"); !strings.Contains(out, "sessions    1\n") {
		t.Errorf("status with a session: %s", out)
	}
	s.send("exit\r")
	s.end()
	if out := l.Exec(t, "berth", "up", "--recreate"); !strings.Contains(out, "created") {
		t.Errorf("recreate: %s", out)
	}
	// The printed command makes the same container: berth sees no difference.
	command := l.Exec(t, "berth", "up", "--dry-run")
	l.Exec(t, "berth", "down")
	l.Exec(t, "sh", "-c", command)
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, "runs") || strings.Contains(out, "should be") {
		t.Errorf("after the printed command: %s\n%s", out, command)
	}
	if out := l.run(t, "alice", "id -un"); out != "alice\n" {
		t.Errorf("%q", out)
	}
}

// An engine that gives its containers user ids of their own does not give them to
// berth's, by either transport; another container of that engine's shows that it would.
func TestRemappedEngine(t *testing.T) {
	e := labs.NewEngine(t, `{"userns-remap": "daemon"}`)
	mapped, err := exec.Command("docker", "-H", "unix://"+e.Socket, "run", "--rm", "--network", "none", "berth:busybox", "cat", "/proc/self/uid_map").CombinedOutput()
	if err != nil || strings.Join(strings.Fields(string(mapped)), " ") != "0 1000000 65536" {
		t.Fatalf("the engine does not remap: %v, %s", err, mapped)
	}
	for _, transport := range transports() {
		l := newLab(t, fmt.Sprintf("transport = %q\n[engine]\nsocket = %q\n[container]\nimage = \"berth:busybox\"\n", transport, e.Socket))
		want := fmt.Sprintf("alice\n%s\n0 0 4294967295\n", l.UID(t, "alice"))
		r := finish(l.SSH("alice", "id -un; stat -c %u .; echo $(cat /proc/self/uid_map)"))
		if r.Out != want {
			t.Errorf("%s: %+v", transport, r)
		}
	}
}
