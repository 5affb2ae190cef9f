// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// A program that has given its memory back still has what the loader wrote into it: a
// position-independent one, as berth-session-exec is, and a static one, as
// berth-session.
func TestSlimKeepsWhatWasRelocated(t *testing.T) {
	for name, flags := range map[string][]string{
		"pie":    {"-buildmode=pie", "-ldflags", "-linkmode=external -extldflags=-Wl,-z,relro,-z,now"},
		"static": {"-tags", "netgo,osusergo", "-ldflags", `-linkmode=external -extldflags "-static -Wl,-z,relro,-z,now"`},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "slim")
			build := append(append([]string{"build"}, flags...), "-o", program, "./testdata/slim")
			if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			out, err := exec.Command(program).CombinedOutput()
			if want := `{"a":[1,2],"b":{"C":null}}` + "\n"; err != nil || string(out) != want {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
