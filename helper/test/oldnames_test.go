// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"strings"
	"testing"

	"berth/test/labs"
)

// An installation that knows the exec transport by its old name, "docker", is taken over
// by `berth up` as it is: the container stays the same, sessions stay open, logins work,
// and both the administrator and the log are told the new name.
func TestUpgradeFromOldNames(t *testing.T) {
	l := labs.New(t, "transport = \"exec\"\n")
	logInOnce(t, l, "alice", "bob")
	sessions := openBatch(t, l)
	// As the installation of before left it (scripts/install).
	program, err := os.ReadFile(l.Path("guest/berth-guest"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Path("guest/berth-enter"), program, 0o711); err != nil {
		t.Fatal(err)
	}
	l.Exec(t, "sed", "-i", `s/^transport = .*/transport = "docker"/`, "/etc/berth/berth.toml")
	const note = `transport: "docker" is called "exec" now`
	r := labs.Finish(l.Command("berth", "up"))
	if r.Status != 0 || !strings.Contains(r.Out+r.Err, note) || strings.Contains(r.Out+r.Err, "should be") || !strings.Contains(r.Out, "runs") {
		t.Errorf("berth up: %+v", r)
	}
	if out := l.Exec(t, "berth", "config", "transport"); out != "exec\n" {
		t.Errorf("berth config transport: %q", out)
	}
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" || r.Err != "" {
		t.Errorf("a login after it: %+v", r)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		text, _ := os.ReadFile(l.Path("log"))
		return strings.Contains(strings.ReplaceAll(string(text), `\"`, `"`), note), string(text)
	})
	checkAnswers(t, sessions)
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		left := supervisors(t, l)
		return len(left) == 0, strings.Join(strings.Fields(l.Exec(t, "berth", "status")), " ")
	})
}
