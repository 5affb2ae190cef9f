// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/lifelinetest"
)

// Whatever a caller sends, the guest comes to an end with it, in time, and what
// it then would run is a program by an absolute path.
func FuzzCaller(f *testing.F) {
	hello := lifeline.Frame(lifeline.Hello, nil)
	identity := lifeline.Frame(lifeline.Identity, lifeline.Names{User: "u", Home: "/", Shells: []string{"/bin/sh"}}.Pack())
	request := lifeline.StartRequest{Kind: lifeline.CommandRequest, Command: "true", Env: []string{"A=b"}, Termios: []byte("x")}
	start := lifeline.Frame(lifeline.Start, request.Pack())
	f.Add(slices.Concat(hello, identity, start), uint8(3))
	f.Add(slices.Concat(hello, identity, lifeline.Frame(lifeline.Start, []byte("\x00\x00\x00\x07run=xyz"))), uint8(0))
	f.Add([]byte("H\xff\xff\xff\xff"), uint8(250))
	f.Add(slices.Concat(start, hello), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, fds uint8) {
		line := lifelinetest.ReplayingPeer(t, data, int(min(fds, 253)))
		if err := line.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		names, err := handshake(line, lifeline.Guest{TakesID: true})
		if err != nil {
			return
		}
		if !filepath.IsAbs(names.Home) || !validName(names.User) {
			t.Errorf("%+v", names)
		}
		request, err := readStart(line)
		if err != nil {
			return
		}
		if path, argv, err := commandLine(request, "/bin/sh"); err == nil && (!filepath.IsAbs(path) || len(argv) == 0) {
			t.Errorf("%q %q", path, argv)
		}
	})
}
