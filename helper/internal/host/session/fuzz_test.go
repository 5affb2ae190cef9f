// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"slices"
	"testing"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/lifelinetest"
	"berth/helper/internal/link/loginerror"

	"golang.org/x/sys/unix"
)

// Whatever the container answers, berth-session comes to an end with it, in
// time, and to an exit status that there is.
func FuzzGuest(f *testing.F) {
	started := lifeline.Frame(lifeline.Started, lifeline.StartedReply{}.Pack())
	f.Add(slices.Concat(started, lifeline.Frame(lifeline.Exit, lifeline.Ending{Status: 3}.Pack())), false)
	f.Add(slices.Concat(started, lifeline.Frame(lifeline.Exit, lifeline.Ending{Signal: 200}.Pack())), true)
	f.Add(lifeline.Frame(lifeline.Failure, lifeline.PackRefusal(loginerror.New("no\x1b[2J", errors.New("x")))), false)
	f.Add([]byte("R\xff\xff\xff\xff"), false)
	f.Fuzz(func(t *testing.T, data []byte, pass bool) {
		fds := 0
		if pass {
			fds = 1
		}
		line := lifelinetest.ReplayingPeer(t, data, fds)
		null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(null)
		s := &Session{Timeout: 10 * time.Second, Start: lifeline.StartRequest{Kind: lifeline.ShellRequest}}
		// The test's own standard input is not the session's: nothing is passed.
		_, master, err := s.handshake(line, &stdio{tty: pass, pass: []int{null, null, null}})
		if master != nil {
			master.Close()
		}
		if err != nil {
			if refused := (*loginerror.Refusal)(nil); errors.As(err, &refused) && (refused.Status < 1 || refused.Status > 255) {
				t.Errorf("status %d", refused.Status)
			}
			return
		}
		if pass != (master != nil) {
			t.Errorf("tty %v, master %v", pass, master)
		}
		select {
		case end := <-awaitEnd(line, nil):
			if end.err == nil && (end.ending.Status < 0 || end.ending.Status > 255 || end.ending.Signal < 0 || end.ending.Signal > 64) {
				t.Errorf("%+v", end.ending)
			}
		case <-time.After(10 * time.Second):
			t.Error("no end")
		}
	})
}
