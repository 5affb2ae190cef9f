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
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	line, err := lifeline.New(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { line.Close() })
	go func() {
		defer unix.Close(ends[1])
		var oob []byte
		if fds > 0 {
			oob = unix.UnixRights(slices.Repeat([]int{ends[1]}, fds)...)
		}
		if len(data) > 0 {
			_ = unix.Sendmsg(ends[1], data, oob, nil, unix.MSG_NOSIGNAL)
		}
		_ = unix.Shutdown(ends[1], unix.SHUT_WR)
		// To the end, so that a closed half is the data's alone.
		for buf := make([]byte, 4096); ; {
			if n, err := unix.Read(ends[1], buf); n <= 0 || err != nil {
				return
			}
		}
	}()
	return line
}

// SilentPeer returns an end whose other one sends nothing for as long as the test lasts.
func SilentPeer(t testing.TB) *lifeline.Conn {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	line, err := lifeline.New(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { line.Close(); unix.Close(ends[1]) })
	return line
}
