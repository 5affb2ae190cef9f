// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"berth/test/labs"
)

// `berth up --recreate --idle-only` takes the container from nobody: not from one who is connected and has
// no session yet, either. When they have gone it makes it anew.
func TestIdleOnly(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice")
	id := func() string {
		return outputOf(t, exec.Command("docker", "inspect", "-f", "{{.Id}}", l.Container(t)))
	}
	before := id()
	l.Exec(t, "sed", "-i", `/^\[container\]$/a pids_limit = 12345`, "/etc/berth/berth.toml")
	socket, hangUp := l.Master(t, "alice")
	r := l.Try("berth", "up", "--recreate", "--idle-only")
	if r.Status == 0 || !strings.Contains(r.Out, "pids_limit") || !strings.Contains(r.Err, "has a client that is connected and stays as it is") {
		t.Errorf("with a client: %+v", r)
	}
	if id() != before {
		t.Error("with a client: it is another container")
	}
	if r := labs.Finish(l.SSH("alice", "-S", socket, "echo goes on")); r.Out != "goes on\n" {
		t.Errorf("her session: %+v", r)
	}
	hangUp()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		r = l.Try("berth", "up", "--recreate", "--idle-only")
		return r.Status == 0, fmt.Sprintf("%+v", r)
	})
	if id() == before {
		t.Error("without a client: it is the same container")
	}
	logInOnce(t, l, "alice")
}
