// SPDX-License-Identifier: Apache-2.0

package life

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Logins that come when the container's time is over: none is lost, whether it meets the old container, its end,
// or none. BERTH_LIFE_LOGINS is how many (200).
func TestLoginsAtIdleEnd(t *testing.T) {
	logins, most := 200, 5
	if n, err := strconv.Atoi(os.Getenv("BERTH_LIFE_LOGINS")); err == nil {
		logins = n
	}
	l := begin(t, "", "", "idle = \"1s\"\n")
	var left, met, made atomic.Int64
	left.Store(int64(logins))
	var all sync.WaitGroup
	for _, user := range l.addUsers(t, most) {
		all.Go(func() {
			pause, step, last, before := time.Second, 128*time.Millisecond, "", false
			for left.Add(-1) >= 0 && !t.Failed() {
				// The container is known by a namespace of its own.
				r := l.login(user, "readlink /proc/self/ns/pid; id -un")
				ns, name, _ := strings.Cut(r.Out, "\n")
				if r.Status != 0 || r.Err != "" || name != user+"\n" {
					t.Errorf("%s, after a pause of %v: %+v\n%s", user, pause, r, l.why(t, r))
				}
				// The pause comes closer to the one that meets the end, and stays around it; on a busy machine that
				// moves, and is followed in longer steps.
				same := ns == last
				if same == before {
					step = min(2*step, 512*time.Millisecond)
				} else {
					step = max(step/2, 16*time.Millisecond)
				}
				if same {
					met.Add(1)
					pause += step
				} else {
					made.Add(1)
					pause -= step
				}
				last, before = ns, same
				time.Sleep(pause) // it is the event
			}
		})
	}
	all.Wait()
	t.Logf("of %d logins %d met the container of before, and %d another", logins, met.Load(), made.Load())
	if met.Load() < int64(logins)/10 || made.Load() < int64(logins)/10 {
		t.Error("the end was not aimed at")
	}
}
