// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"berth/test/labs"
)

// OpenSSH's own tests of forwarding pass.
func TestOpenSSHRegress(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("openssh/fetch", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run, err := filepath.Abs("openssh/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"forwarding.sh", "dynamic-forward.sh"} {
		t.Run(script, func(t *testing.T) {
			each(t, func(t *testing.T, l lab) {
				r := labs.FinishIn(l.Command(run, filepath.Join(dir, script), l.Dir), 5*time.Minute)
				if r.Status != 0 {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
