// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/rules"
)

// A user who is refused all day writes little, and hides nobody else.
func TestLimiter(t *testing.T) {
	var text strings.Builder
	l := limiter{say: func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }}
	now := time.Unix(1<<30, 0)
	for i := range 86400 {
		l.logf(now.Add(time.Duration(i)*time.Second/8), 1001, "refused uid 1001")
	}
	l.logf(now, 1002, "refused uid 1002")
	if n := strings.Count(text.String(), "refused uid 1001"); n < burst || n > burst+86400/8/10+1 {
		t.Errorf("%d lines in three hours", n)
	}
	if !strings.Contains(text.String(), "refused uid 1002") || !strings.Contains(text.String(), "lines were dropped") {
		t.Errorf("%s", text.String()[max(0, text.Len()-500):])
	}
	// Nor do a great many uids, which one user of the host may have.
	text.Reset()
	for uid := range uint32(100000) {
		l.logf(now, 1<<20+uid, "refused")
	}
	if n := strings.Count(text.String(), "refused"); n > most+burst {
		t.Errorf("%d lines of 100,000 uids", n)
	}
}

// A log that nobody reads keeps nobody waiting.
func TestLogIsNotWaitedFor(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close() // then the writer is told, and done
	say := newLog(write)
	done := make(chan struct{})
	go func() {
		for range 10000 {
			say("%0100d", 0)
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("who writes to the log waits")
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
