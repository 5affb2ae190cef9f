// SPDX-License-Identifier: Apache-2.0

package threads

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
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

// What is done apart stays with its thread.
func TestApart(t *testing.T) {
	var inside string
	err := Apart(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Chdir("/proc"); err != nil {
			return err
		}
		var err error
		inside, err = os.Readlink("/proc/thread-self/cwd")
		return err
	})
	if err != nil || inside != "/proc" {
		t.Errorf("%q, %v", inside, err)
	}
	if here, err := os.Readlink("/proc/thread-self/cwd"); err != nil || here == "/proc" {
		t.Errorf("%q, %v", here, err)
	}
}
