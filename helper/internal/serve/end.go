// SPDX-License-Identifier: Apache-2.0

// Process: berth-enter end. As: the user whose processes it ends.

package serve

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"berth/helper/internal/tree"

	"golang.org/x/sys/unix"
)

// patience is how long End tries; the keeper looks again afterwards.
const patience = 3 * time.Second

// End kills the processes called pids, and all below them. Stopped first: what is
// being killed cannot fork any more.
func End(words []string) error {
	var roots []int
	for _, word := range words {
		pid, err := strconv.Atoi(word)
		if err != nil || pid < 2 {
			return fmt.Errorf("%q is no process", word)
		}
		roots = append(roots, pid)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("undumpable: %w", err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		left := tree.Descendants(tree.Proc(), roots...)
		for _, pid := range roots {
			if tree.Alive(tree.Proc(), pid) {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			break
		}
		slices.Sort(left)
		tree.Signal(left, unix.SIGSTOP)
		tree.Signal(left, unix.SIGKILL)
	}
	return nil
}
