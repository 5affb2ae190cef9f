// SPDX-License-Identifier: Apache-2.0

//go:build hosts

package hosts

import (
	"berth/test/labs"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

// memory: alice takes all memory of the container, with twenty processes that grow
// until the kernel ends them. It ends nobody else's: carol's session goes on, and
// the container is the one of before.
func memory(t *testing.T, h *Host) {
	h.Run(t, `printf '[container]\nmemory = "512m"\n[container.tmpfs]\n"/run" = "size=16m"\n"/tmp" = "mode=1777,size=64m"\n' >/etc/berth/berth.toml; berth up --recreate`)
	const who = `docker inspect -f '{{.State.StartedAt}} {{.State.Pid}} {{.RestartCount}}' berth`
	before := h.Run(t, who)
	ask := converse(t, h, "carol")
	// Below a session is the keeper, and what a session may lower its own to is 0.
	if got := ask(`cat /proc/self/oom_score_adj`); got != "0" {
		t.Errorf("a session's oom_score_adj is %s", got)
	}
	if got := ask(`(echo 300 >/proc/self/oom_score_adj && echo 0 >/proc/self/oom_score_adj && echo raised; echo -1 >/proc/self/oom_score_adj && echo lowered) 2>/dev/null | paste -sd' '`); got != "raised" {
		t.Errorf("a session raises its score and takes it back, and no more: %q", got)
	}
	// The keeper and two servers, the one that serves and the one that waits.
	spared := h.Run(t, `p=$(docker inspect -f '{{.State.Pid}}' berth)
		cat /proc/$p/oom_score_adj; for c in $(cat /proc/$p/task/*/children); do cat /proc/$c/oom_score_adj; done | grep -c -- -900`)
	if spared != "-900\n2\n" {
		t.Errorf("the keeper's score, and how many of its children have the same: %q", spared)
	}
	since := strings.TrimSpace(h.Run(t, "date +%s"))
	r := h.SSH("alice", `for i in $(seq 20); do tail /dev/zero & done; wait`)
	t.Logf("alice: status %d, %q", r.Status, r.Err)
	alice := strings.TrimSpace(h.Run(t, "id -u alice"))
	killed := regexp.MustCompile(`Memory cgroup out of memory: Killed process .* UID:(\d+) `).FindAllStringSubmatch(h.Run(t, "journalctl -k --no-pager --since @"+since), -1)
	if len(killed) == 0 {
		t.Error("the kernel ended nothing: memory was not exhausted")
	}
	for _, line := range killed {
		if line[1] != alice {
			t.Errorf("the kernel ended somebody else's: %s", line[0])
		}
	}
	if got := ask(`echo still here`); got != "still here" {
		t.Errorf("carol: %q", got)
	}
	if after := h.Run(t, who); after != before {
		t.Errorf("the container was %s, is %s", before, after)
	}
	if r := h.SSH("alice", "echo back"); r.Out != "back\n" {
		t.Errorf("alice's next login: %+v", r)
	}
}

// converse opens a session, and returns what runs a command in it and returns its
// one line.
func converse(t *testing.T, h *Host, user string) func(command string) string {
	t.Helper()
	ask, _ := conversation(t, h, user)
	return ask
}

// conversation is converse for a session that the test ends.
func conversation(t *testing.T, h *Host, user string) (ask func(command string) string, end func()) {
	t.Helper()
	cmd := h.Client("ssh", user, "bash")
	stdin, lines := labs.StartWithPipes(t, cmd)
	return func(command string) string {
		t.Helper()
		stop := time.AfterFunc(Patience, func() { _ = cmd.Process.Kill() })
		defer stop.Stop()
		if _, err := io.WriteString(stdin, command+"\n"); err != nil {
			t.Fatalf("%s's session has ended: %v", user, err)
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%s's session has ended: %v", user, err)
		}
		return strings.TrimSuffix(line, "\n")
	}, func() { _ = cmd.Process.Kill() }
}
