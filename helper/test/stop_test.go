// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

// A container that is stopped ends its sessions as a host does that is shut down:
// who listens to a hangup can still save their work, and who does not is killed. All of
// that is over before the engine would end it.
func TestStopHangsUp(t *testing.T) {
	for _, transport := range []string{"direct", "exec"} {
		t.Run(transport, func(t *testing.T) {
			l := labs.New(t, fmt.Sprintf("transport = %q\n", transport))
			welcome(t, l, "alice", "bob")
			const saves = `trap 'sleep 0.2; echo saved >~/shell; exit' HUP
				(setsid bash -c 'trap "echo saved >~/daemon; exit" TERM; trap "" HUP; echo up; while :; do sleep 0.05; done' &)
				echo up; while :; do sleep 0.05; done`
			h, said := shown(t, l, saves)
			said.says(t, "up\nup\n")
			deaf, heard := shownOf(t, l, "bob", "trap '' HUP TERM; echo up; while :; do sleep 0.05; done")
			heard.says(t, "up")
			start := time.Now()
			if out, err := exec.Command("docker", "stop", l.Container(t)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			took := time.Since(start)
			t.Logf("stopped within %v", took.Round(time.Millisecond))
			if took > 4500*time.Millisecond {
				t.Errorf("the engine had to end it, after %v", took)
			}
			for _, file := range []string{"shell", "daemon"} {
				if r := l.Try("cat", "/home/alice/"+file); r.Out != "saved\n" {
					t.Errorf("%s: %+v", file, r)
				}
			}
			for _, s := range []*screen{said, heard} {
				labs.Eventually(t, within, func() (bool, string) {
					return strings.Contains(s.String(), "the container is being stopped"), s.String()
				})
			}
			h.leaves()
			deaf.leaves()
			if out := l.Exec(t, "berth", "up"); !strings.Contains(out, " runs\n") {
				t.Errorf("berth up: %s", out)
			}
			// Without a session there is nothing to wait for.
			start = time.Now()
			if out, err := exec.Command("docker", "stop", l.Container(t)).CombinedOutput(); err != nil || time.Since(start) > 3*time.Second {
				t.Errorf("%v after %v: %s", err, time.Since(start), out)
			}
		})
	}
}
