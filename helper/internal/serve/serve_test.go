// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/lifeline"
	"berth/helper/internal/rules"
)

// A user who is refused all day writes little, and hides nobody else.
func TestLimiter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = log
	var l limiter
	now := time.Unix(1<<30, 0)
	for i := range 86400 {
		l.logf(now.Add(time.Duration(i)*time.Second/8), 1001, "refused uid 1001")
	}
	l.logf(now, 1002, "refused uid 1002")
	os.Stderr = stderr
	log.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "refused uid 1001"); n < burst || n > burst+86400/8/10+1 {
		t.Errorf("%d lines in three hours", n)
	}
	if !strings.Contains(string(text), "refused uid 1002") || !strings.Contains(string(text), "lines were dropped") {
		t.Errorf("%s", text[max(0, len(text)-500):])
	}
}

// Who is served is told by the kernel's word alone; all that a lab cannot show is
// here.
func TestJudge(t *testing.T) {
	s := &server{rules: rules.Rules{UIDMin: 1000, UIDMax: 1 << 31, Held: []uint32{105}}}
	good := lifeline.Peer{UID: 1001, GID: 1001, Groups: []uint32{100, 1001}}
	if no := s.judge(good); no != nil {
		t.Errorf("a user is refused: %s", no.cause)
	}
	for name, spoil := range map[string]func(*lifeline.Peer){
		"inside": func(p *lifeline.Peer) { p.PID = 7 }, "root": func(p *lifeline.Peer) { p.UID = 0 }, "root's gid": func(p *lifeline.Peer) { p.GID = 0 },
		"root's group": func(p *lifeline.Peer) { p.Groups = []uint32{0} }, "low": func(p *lifeline.Peer) { p.UID = 999 },
		"high": func(p *lifeline.Peer) { p.UID = 1<<31 + 1 }, "nobody": func(p *lifeline.Peer) { p.UID = 65534 }, "nogroup": func(p *lifeline.Peer) { p.GID = 65534 },
		"dynamic": func(p *lifeline.Peer) { p.UID = 61184 }, "subordinate": func(p *lifeline.Peer) { p.UID = 100000 },
		"the engine's gid": func(p *lifeline.Peer) { p.GID = 105 }, "the engine's group": func(p *lifeline.Peer) { p.Groups = []uint32{1001, 105} },
	} {
		peer := good
		spoil(&peer)
		if s.judge(peer) == nil {
			t.Errorf("%s is served", name)
		}
	}
}
