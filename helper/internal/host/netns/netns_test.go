// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"berth/helper/internal/link/loginerror"

	"golang.org/x/sys/unix"
)

// Each case has its words for the user and its cause for the log.
func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		own       network
		container uint64
		user, log string
	}{
		"the same":          {network{7, true, true}, 7, "", ""},
		"the host's":        {network{7, true, true}, 8, hookMissing, "`session required pam_berth.so container` missing"},
		"empty":             {network{7, false, false}, 8, noNetwork, "is empty"},
		"a container's end": {network{7, false, true}, 8, restarted, "older than the container's last start"},
		"an old guest":      {network{7, false, true}, 0, hookMissing, "run `berth up`"},
	} {
		err := c.own.compare(c.container)
		if c.user == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if refused := (*loginerror.Refusal)(nil); !errors.As(err, &refused) || refused.User != c.user || !strings.Contains(err.Error(), c.log) {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// What is seen of a namespace that is empty, and of one whose lo is up.
func TestOwn(t *testing.T) {
	before, err := own()
	if err != nil || Check(before.inode) != nil {
		t.Fatalf("%+v, %v, %v", before, err, Check(before.inode))
	}
	type seen struct {
		empty, up network
		err       error
	}
	result := make(chan seen)
	go func() {
		// The thread is not given back: it ends with the goroutine, and its namespace with it.
		runtime.LockOSThread()
		var s seen
		if s.err = unix.Unshare(unix.CLONE_NEWNET); s.err == nil {
			s.empty, s.err = own()
			out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
			if s.err == nil && err != nil {
				s.err = errors.New(string(out))
			}
			if s.err == nil {
				s.up, s.err = own()
			}
		}
		result <- s
	}()
	s := <-result
	if errors.Is(s.err, unix.EPERM) {
		t.Skip("needs root")
	}
	if s.err != nil || s.empty.inode == before.inode || s.empty.others || s.empty.loUp || s.up.others || !s.up.loUp {
		t.Errorf("%+v", s)
	}
}
