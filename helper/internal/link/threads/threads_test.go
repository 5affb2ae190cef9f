// SPDX-License-Identifier: Apache-2.0

package threads

import (
	"os"
	"testing"
)

// The threads are there afterwards, and stay.
func TestMake(t *testing.T) {
	const n = 40
	count := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	if had := count(); had > n {
		t.Fatalf("there are %d threads already", had)
	}
	Make(n)
	if has := count(); has < n {
		t.Errorf("there are %d threads, not %d", has, n)
	}
}
