// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"berth/test/labs"
)

// A lab understands berth.toml as berth does: with direct, in whatever quotes,
// there is no program with a special bit.
func TestLabReadsTOML(t *testing.T) {
	l := labs.New(t, "transport = 'direct'\n[session]\nset_env = { PLACE = 'the \"lab\"' }\n")
	if out := l.Exec(t, "sh", "-c", "berth config transport; ls /usr/libexec/berth"); out != "direct\nberth-session\nguest\n" {
		t.Errorf("%s", out)
	}
	if r := labs.Finish(l.SSH("alice", "echo $PLACE")); r.Out != "the \"lab\"\n" {
		t.Errorf("%+v", r)
	}
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, "runs") {
		t.Errorf("%s", out)
	}
}
