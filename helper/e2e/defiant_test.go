// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"berth/sshd/labs"
)

// A user may stop what clears up after her, for it runs as her; she keeps her own
// processes by that, and nobody else from anything.
func TestDefiantUser(t *testing.T) {
	l := labs.New(t, "")
	welcome(t, l, "alice", "bob")
	before := still(t, l)
	const defiance = "for i in 1 2 3 4; do setsid bash -c 'trap \"\" HUP TERM; while :; do pkill -STOP -f \"berth-enter end \"; done' </dev/null >/dev/null 2>&1 & done; echo up; read x"
	cmd := l.AsUser("alice", "env", "-i", "SSH_ORIGINAL_COMMAND="+defiance, "/usr/libexec/berth/berth-session")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defiant := func() (pids []int) {
		for pid, args := range inContainer(t, l) {
			if strings.Contains(args, "pkill -STOP") || strings.Contains(args, "berth-enter end ") {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) { return len(defiant()) >= 4, fmt.Sprint(inContainer(t, l)) })
	for _, pid := range supervisors(t, l) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	// Whether she wins or loses the race for each of its signals, others log in, and
	// a dead server is followed by another.
	for range 3 {
		_, server := serving(t, l)
		if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		labs.Eventually(t, labs.Patience, func() (bool, string) {
			_, now := serving(t, l)
			return now != server, "the server is not replaced"
		})
		if r := labs.Finish(l.SSH("bob", "id -un")); r.Out != "bob\n" {
			t.Errorf("bob: %+v", r)
		}
	}
	for _, pid := range defiant() {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
	settled(t, l, before)
}
