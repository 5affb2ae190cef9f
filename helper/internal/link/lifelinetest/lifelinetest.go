// SPDX-License-Identifier: Apache-2.0

// Package lifelinetest has the other end of a lifeline for tests: one that says
// anything.
package lifelinetest

import (
	"slices"
	"testing"

	"berth/helper/internal/link/lifeline"

	"golang.org/x/sys/unix"
)

// ReplayingPeer returns an end whose other one sends data with so many descriptors,
// sends no more, and reads all that it gets.
func ReplayingPeer(t testing.TB, data []byte, fds int) *lifeline.Conn {
	t.Helper()
	line, peer := pair(t)
	go func() {
		defer unix.Close(peer)
		var oob []byte
		if fds > 0 {
			oob = unix.UnixRights(slices.Repeat([]int{peer}, fds)...)
		}
		if len(data) > 0 {
			_ = unix.Sendmsg(peer, data, oob, nil, unix.MSG_NOSIGNAL)
		}
		_ = unix.Shutdown(peer, unix.SHUT_WR)
		// To the end, so that a closed half is the data's alone.
		for buf := make([]byte, 4096); ; {
			if n, err := unix.Read(peer, buf); n <= 0 || err != nil {
				return
			}
		}
	}()
	return line
}

// SilentPeer returns an end whose other one sends nothing for as long as the test lasts.
func SilentPeer(t testing.TB) *lifeline.Conn {
	t.Helper()
	line, peer := pair(t)
	t.Cleanup(func() { unix.Close(peer) })
	return line
}

// pair returns both ends. The first is closed when the test ends.
func pair(t testing.TB) (line *lifeline.Conn, peer int) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if line, err = lifeline.New(ends[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { line.Close() })
	return line, ends[1]
}
