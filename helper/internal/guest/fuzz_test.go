// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/helper/internal/lifeline"

	"golang.org/x/sys/unix"
)

// Whatever a caller sends, the guest comes to an end with it, in time, and what
// it then would run is a program by an absolute path.
func FuzzCaller(f *testing.F) {
	hello := lifeline.Frame(lifeline.Hello, nil)
	identity := lifeline.Frame(lifeline.Identity, lifeline.Names{User: "u", Home: "/", Shells: []string{"/bin/sh"}}.Pack())
	start := lifeline.Frame(lifeline.Start, lifeline.StartRequest{Run: lifeline.RunCommand, Command: "true", Env: []string{"A=b"}, Termios: []byte("x")}.Pack())
	f.Add(slices.Concat(hello, identity, start), uint8(3))
	f.Add(slices.Concat(hello, identity, lifeline.Frame(lifeline.Start, []byte("\x00\x00\x00\x07run=xyz"))), uint8(0))
	f.Add([]byte("H\xff\xff\xff\xff"), uint8(250))
	f.Add(slices.Concat(start, hello), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, fds uint8) {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		line, err := lifeline.New(ends[0])
		if err != nil {
			t.Fatal(err)
		}
		defer line.Close()
		if err := line.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer unix.Close(ends[1])
			var oob []byte
			if fds > 0 {
				oob = unix.UnixRights(slices.Repeat([]int{ends[1]}, int(min(fds, 253)))...)
			}
			if unix.Sendmsg(ends[1], data, oob, nil, unix.MSG_NOSIGNAL) == nil {
				_ = unix.Shutdown(ends[1], unix.SHUT_WR)
			}
			// It is heard to the end, so that a closed half is the data's alone.
			for buf := make([]byte, 4096); ; {
				if n, err := unix.Read(ends[1], buf); n <= 0 || err != nil {
					return
				}
			}
		}()
		names, err := claims(line)
		if err != nil {
			return
		}
		if !filepath.IsAbs(names.Home) || !validName(names.User) {
			t.Errorf("%+v", names)
		}
		request, err := wanted(line)
		if err != nil {
			return
		}
		if path, argv, err := program(request, "/bin/sh"); err == nil && (!filepath.IsAbs(path) || len(argv) == 0) {
			t.Errorf("%q %q", path, argv)
		}
	})
}
