// SPDX-License-Identifier: Apache-2.0

// Process: berth-enter end. As: the user whose processes it ends.

package serve

import (
	"fmt"
	"slices"
	"time"

	"berth/helper/internal/tree"

	"golang.org/x/sys/unix"
)

// patience is how long End tries; the keeper looks again afterwards.
const patience = 3 * time.Second

// root is a process to be ended; with its birth it cannot be mistaken for a later
// one of the same number.
type root struct {
	pid   int
	birth uint64
}

func (r root) alive() bool {
	birth, err := tree.Birth(tree.Proc(), r.pid)
	return err == nil && birth == r.birth
}

// End kills the processes PID:BIRTH, and all below them. Stopped first: what is
// being killed cannot fork any more.
func End(words []string) error {
	var roots []root
	for _, word := range words {
		var r root
		if _, err := fmt.Sscanf(word, "%d:%d", &r.pid, &r.birth); err != nil || r.pid < 2 {
			return fmt.Errorf("%q is no process", word)
		}
		roots = append(roots, r)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("undumpable: %w", err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var left []int
		for _, r := range roots {
			if r.alive() {
				left = append(left, r.pid)
			}
		}
		left = append(left, tree.Descendants(tree.Proc(), left...)...)
		if len(left) == 0 {
			break
		}
		slices.Sort(left)
		tree.Signal(left, unix.SIGSTOP)
		tree.Signal(left, unix.SIGKILL)
	}
	return nil
}
