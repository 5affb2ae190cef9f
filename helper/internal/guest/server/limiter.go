// SPDX-License-Identifier: Apache-2.0

package server

import "time"

// limiter lets lines through to the log: for each uid a burst, then one in a
// while. What a user may repeat at will must not fill the host's disk, nor hide
// what others do.
type limiter struct {
	say   func(format string, args ...any)
	users map[uint32]*allowance
}

type allowance struct {
	left    float64
	last    time.Time
	dropped int
}

const (
	burst  = 20
	refill = 10 * time.Second
	// most is how many uids are told apart; further ones share an allowance.
	most   = 4096
	shared = 1<<32 - 1
)

// logf writes a line about uid, or drops it.
func (l *limiter) logf(now time.Time, uid uint32, format string, args ...any) {
	if l.users == nil {
		l.users = map[uint32]*allowance{}
	}
	if l.users[uid] == nil && len(l.users) >= most {
		uid = shared
	}
	a := l.users[uid]
	if a == nil {
		a = &allowance{left: burst, last: now}
		l.users[uid] = a
	}
	a.left = min(burst, a.left+float64(now.Sub(a.last))/float64(refill))
	a.last = now
	if a.left < 1 {
		a.dropped++
		return
	}
	a.left--
	if a.dropped > 0 {
		l.say("uid %d: %d lines were dropped", uid, a.dropped)
		a.dropped = 0
	}
	l.say(format, args...)
}
