// SPDX-License-Identifier: Apache-2.0

package server

import "time"

// limiter lets lines through to the log: for each uid a burst, then one in a
// while. What a user may repeat at will must not fill the host's disk, nor hide
// what others do.
type limiter struct {
	write      func(format string, args ...any)
	allowances map[uint32]*allowance // by uid
}

type allowance struct {
	lines   float64 // that may be written now
	updated time.Time
	dropped int
}

const (
	burstLines   = 20
	lineInterval = 10 * time.Second
	// maxAllowances is how many uids are told apart; further ones share the
	// allowance of sharedUID, which is no user's.
	maxAllowances = 4096
	sharedUID     = 1<<32 - 1
)

// logf writes a line about uid, or drops it.
func (l *limiter) logf(now time.Time, uid uint32, format string, args ...any) {
	if l.allowances == nil {
		l.allowances = map[uint32]*allowance{}
	}
	if l.allowances[uid] == nil && len(l.allowances) >= maxAllowances {
		uid = sharedUID
	}
	a := l.allowances[uid]
	if a == nil {
		a = &allowance{lines: burstLines, updated: now}
		l.allowances[uid] = a
	}
	a.lines = min(burstLines, a.lines+float64(now.Sub(a.updated))/float64(lineInterval))
	a.updated = now
	if a.lines < 1 {
		a.dropped++
		return
	}
	a.lines--
	if a.dropped > 0 {
		l.write("uid %d: %d lines were dropped", uid, a.dropped)
		a.dropped = 0
	}
	l.write(format, args...)
}
