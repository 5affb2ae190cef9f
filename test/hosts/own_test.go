// SPDX-License-Identifier: Apache-2.0

//go:build hosts

package hosts

import (
	"fmt"
	"strings"
	"testing"
)

// ownPolicy gives the members of kayakers a container each. On an emulated processor a login takes
// seconds, so the idle time is longer than one.
const ownPolicy = `[profile.own]
groups = ["kayakers"]
mode = "user"
[profile.own.container]
idle = "1m"
memory = "256m"
pids_limit = 300
cpus = 1
`

// own: alice's container is made at her login, by the engine and the cgroups of this release; carol stays in
// the one that all share. It ends when it is idle, and her next login makes another.
func own(t *testing.T, h *Host) {
	h.Run(t, "groupadd kayakers && gpasswd -a alice kayakers && printf '"+strings.ReplaceAll(ownPolicy, "\n", `\n`)+"' >/etc/berth/berth.toml && berth up --recreate")
	name := "berth-own-" + strings.TrimSpace(h.Run(t, "id -u alice"))
	ask, end := conversation(t, h, "alice")
	for command, want := range map[string]string{
		"ls /home":                           "alice",
		"cat /proc/self/attr/current":        "docker-default (enforce)",
		"cat /sys/fs/cgroup/memory.max":      "268435456",
		"cat /sys/fs/cgroup/pids.max":        "300",
		"cat /sys/fs/cgroup/cpu.max":         "100000 100000",
		"cat /proc/1/comm":                   "berth-init",
		"cat /proc/self/oom_score_adj":       "0",
		"grep Seccomp: /proc/self/status":    "Seccomp:\t2",
		"touch /usr/x 2>&1 | grep -c 'only'": "1",
	} {
		if got := ask(command); got != want {
			t.Errorf("alice: %s: %q, want %q", command, got, want)
		}
	}
	if score := h.Run(t, `cat /proc/$(docker inspect -f '{{.State.Pid}}' `+name+`)/oom_score_adj`); score != "-900\n" {
		t.Errorf("her keeper's oom_score_adj is %q", score)
	}
	if r := h.SSH("carol", "ls /home"); !strings.Contains(r.Out, "alice") || r.Status != 0 {
		t.Errorf("carol, in the shared container: %+v", r)
	}
	if said := h.Run(t, "berth explain alice; berth status"); !strings.Contains(said, name) || !strings.Contains(said, "1 session") {
		t.Errorf("berth explain and status:\n%s", said)
	}
	if held := h.Run(t, "lslocks -n -o COMMAND,TYPE,MODE,PATH | grep /lease"); !strings.Contains(held, "sshd") {
		t.Errorf("who holds the lease: %q", held)
	}
	started := h.Run(t, "docker inspect -f '{{.State.StartedAt}}' "+name)
	end()
	if err := h.until(Patience, func() error {
		if state := h.Try("docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' " + name).Out; state != "exited 0\n" {
			return fmt.Errorf("the idle container is %q", state)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if r := h.SSH("alice", "id -un"); r.Out != "alice\n" {
		t.Errorf("alice's next login: %+v", r)
	}
	if now := h.Run(t, "docker inspect -f '{{.State.StartedAt}}' "+name); now == started {
		t.Error("her container is the one of before")
	}
}
