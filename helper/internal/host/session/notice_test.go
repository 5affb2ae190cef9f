// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/lifelinetest"
)

// stoppedTerminal takes nothing.
type stoppedTerminal struct{ until chan struct{} }

func (s stoppedTerminal) Write(b []byte) (int, error) {
	<-s.until
	return len(b), nil
}

// A notice is one line with what can be printed; a body that is none is passed over, and so
// is every one where there is no terminal.
func TestNotices(t *testing.T) {
	r, w := io.Pipe()
	n := newNotices(w)
	defer close(n.lines)
	read := make([]byte, 1024)
	for text, want := range map[string]string{
		"Reboot at noon, grün":    "Reboot at noon, grün",
		"a\x1b[2J\r\nb\u009b\xff": "a?[2J??b??",
		strings.Repeat("x", 300):  strings.Repeat("x", 200),
	} {
		n.show([]byte("nonsense"))
		n.show(lifeline.PackNotice(text))
		size, err := r.Read(read)
		if got := string(read[:size]); err != nil || got != "\r\nberth: "+want+"\r\n" {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	(*notices)(nil).show(lifeline.PackNotice("to nobody"))
}

// The end comes through behind any number of notices, although the terminal takes none.
func TestEndBehindNotices(t *testing.T) {
	until := make(chan struct{})
	var done sync.Once
	defer done.Do(func() { close(until) })
	notice := lifeline.Frame(lifeline.Notice, lifeline.PackNotice("noon"))
	end := lifeline.Frame(lifeline.Exit, lifeline.Ending{Status: 3}.Pack())
	for name, n := range map[string]*notices{"a stopped terminal": newNotices(stoppedTerminal{until}), "no terminal": nil} {
		line := lifelinetest.ReplayingPeer(t, slices.Concat(bytes.Repeat(notice, 20), end), 0)
		select {
		case result := <-awaitEnd(line, n):
			if result.err != nil || result.ending.Status != 3 {
				t.Errorf("%s: %+v", name, result)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: no end", name)
		}
	}
}
