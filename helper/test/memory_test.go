// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"strconv"
	"sync"
	"testing"
)

func init() {
	// Opens sessions one after the other, in four rows.
	probes["many"] = func(args []string) string {
		n, _ := strconv.Atoi(args[0])
		var rows sync.WaitGroup
		failed := make(chan string, n)
		for range 4 {
			rows.Go(func() {
				for range n / 4 {
					c, err := dial(socket)
					if err != nil {
						failed <- err.Error()
						return
					}
					if got := c.session("echo ok"); got != "ok" {
						failed <- got
					}
					c.Close()
				}
			})
		}
		rows.Wait()
		close(failed)
		for words := range failed {
			return words
		}
		return "done"
	}
}

// The server and the keeper hold nothing of sessions that have ended.
// $BERTH_SESSIONS says how many there are to be (2,000).
func TestMemoryStaysFlat(t *testing.T) {
	sessions := 2000
	if n, err := strconv.Atoi(os.Getenv("BERTH_SESSIONS")); err == nil {
		sessions = n
	}
	many := func(n int) {
		t.Helper()
		if got := runProbe(t, lab, "alice", "many", strconv.Itoa(n)); got != "done" {
			t.Fatal(got)
		}
	}
	before := stableState(t, lab)
	keeper, server := serving(t, lab)
	// The heap's own rhythm shows first.
	many(400)
	awaitState(t, lab, before)
	was := residentKiB(t, keeper) + residentKiB(t, server)
	for done := 0; done < sessions; done += 1000 {
		many(min(1000, sessions-done))
		t.Logf("%d: %d + %d KiB", done+1000, residentKiB(t, keeper), residentKiB(t, server))
	}
	awaitState(t, lab, before)
	is := residentKiB(t, keeper) + residentKiB(t, server)
	t.Logf("%d sessions: keeper and server had %d KiB, have %d KiB", sessions, was, is)
	if is > was+2048 {
		t.Errorf("%d KiB more after %d sessions", is-was, sessions)
	}
}
