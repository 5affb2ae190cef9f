// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"berth/sshd/labs"
)

// A container that berth did not make, with nothing of berth's in it, serves
// sessions when it is adopted; when it is gone a login says so, and `berth up`
// brings berth's own back.
func TestAdopt(t *testing.T) {
	l := labs.New(t, "[session]\ntimeout = \"1s\"\n")
	name := l.Container(t) + "-other"
	docker := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("docker", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	docker("run", "--detach", "--init", "--name", name, "--network", "none", "--hostname", "elsewhere", "--mount", "type=bind,source="+l.Path("home")+",target=/home",
		"--entrypoint", "/bin/sleep", "berth:latest", "3000")
	t.Cleanup(func() { docker("rm", "--force", name) })
	if out := l.Exec(t, "berth", "up", "--adopt", name); !strings.Contains(out, name+" serves sessions") {
		t.Fatalf("%s", out)
	}
	r := labs.Finish(l.SSH("alice", "id -u; id -un 2>/dev/null; hostname; pwd; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status | tr -d '\\t'; exit 4"))
	if want := "31001\n31001\nelsewhere\n/home/alice\nCapEff:0000000000000000\nNoNewPrivs:1\n"; r.Out != want || r.Err != "" || r.Status != 4 {
		t.Errorf("%+v, want %q", r, want)
	}
	if out := docker("exec", name, "ls", "-A", "/dev/shm"); out != "" {
		t.Errorf("left in /dev/shm: %s", out)
	}
	docker("stop", "--time", "1", name)
	// The lab goes direct alone: nobody starts anything.
	if r := labs.Finish(l.SSH("alice", "id")); r.Status != 255 || !strings.Contains(r.Err, "does not serve sessions; try again") {
		t.Errorf("when it is gone: %+v", r)
	}
	l.Exec(t, "berth", "up", "--recreate")
	l.Exec(t, "berth", "down")
	l.Exec(t, "berth", "up")
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("after berth up: %+v", r)
	}
	if r := l.Try("berth", "up", "--adopt", name); r.Status == 0 || !strings.Contains(r.Err, "not running") {
		t.Errorf("a stopped one: %+v", r)
	}
}
