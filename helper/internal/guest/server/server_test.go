// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A user who is refused all day writes little, and hides nobody else.
func TestLimiter(t *testing.T) {
	var text strings.Builder
	l := limiter{write: func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }}
	now := time.Unix(1<<30, 0)
	for i := range 86400 {
		l.logf(now.Add(time.Duration(i)*time.Second/8), 1001, "refused uid 1001")
	}
	l.logf(now, 1002, "refused uid 1002")
	if n := strings.Count(text.String(), "refused uid 1001"); n < burstLines || n > burstLines+86400/8/10+1 {
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
	if n := strings.Count(text.String(), "refused"); n > maxAllowances+burstLines {
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
	logf := newLogger(write)
	done := make(chan struct{})
	go func() {
		for range 10000 {
			logf("%0100d", 0)
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("a writer to the log waits for its reader")
	}
}
