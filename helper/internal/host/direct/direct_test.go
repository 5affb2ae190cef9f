// SPDX-License-Identifier: Apache-2.0

package direct

import (
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"

	"golang.org/x/sys/unix"
)

// What a server does with a connection.
const (
	hangsUp = iota // before it has said a word, as one that is being replaced
	saysNothing
	serves
	refuses
	listensLate // not at once; then it serves
)

func TestRetries(t *testing.T) {
	served := errors.New("no error")
	refused := loginerror.New("words", unix.EPERM)
	for name, c := range map[string]struct {
		alone    bool
		patience time.Duration
		server   []int // for each connection; the last is repeated
		want     error
		atMost   int // connections; 0: any number
	}{
		"served at once":              {false, time.Minute, []int{serves}, served, 1},
		"a server that is replaced":   {false, time.Minute, []int{hangsUp, hangsUp, serves}, served, 3},
		"alone, it is replaced":       {true, time.Minute, []int{hangsUp, hangsUp, serves}, served, 3},
		"nobody listens":              {false, time.Minute, nil, loginerror.ErrNotServed, 0},
		"alone, nobody listens":       {true, 100 * time.Millisecond, nil, loginerror.ErrNotServed, 0},
		"alone, somebody comes":       {true, time.Minute, []int{listensLate}, served, 0},
		"it always hangs up":          {false, 100 * time.Millisecond, []int{hangsUp}, loginerror.ErrNotServed, 0},
		"paused":                      {false, 100 * time.Millisecond, []int{saysNothing}, loginerror.ErrNotServed, 1},
		"alone, paused for a moment":  {true, time.Minute, []int{saysNothing, serves}, served, 2},
		"refused: no other way":       {false, time.Minute, []int{refuses, serves}, refused, 1},
		"alone, refused: not again":   {true, time.Minute, []int{refuses, serves}, refused, 1},
		"refused after a replacement": {true, time.Minute, []int{hangsUp, refuses, serves}, refused, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "socket")
			var connections atomic.Int32
			switch {
			case len(c.server) == 1 && c.server[0] == listensLate:
				time.AfterFunc(100*time.Millisecond, func() { listen(t, path, []int{serves}, &connections) })
			case c.server != nil:
				listen(t, path, c.server, &connections)
			}
			line, err := Transport(Dial(path), path, c.patience, c.alone)(t.Context(), []byte("identity"))
			if err == nil {
				line.Close()
				err = served
			}
			own := (*loginerror.Refusal)(nil)
			said := errors.Is(c.want, refused) && errors.As(err, &own) && own.User == refused.User
			if !errors.Is(err, c.want) && !said {
				t.Errorf("%v; it should be: %v", err, c.want)
			}
			if n := int(connections.Load()); c.atMost > 0 && n > c.atMost {
				t.Errorf("%d connections, not %d", n, c.atMost)
			}
		})
	}
}

// Who listens must be root: the socket of anybody else is no server's, and not tried again.
func TestImpostor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	var connections atomic.Int32
	// The kernel records who called listen(2): this thread is a user for as long.
	runtime.LockOSThread()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	const leave = ^uintptr(0)
	_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, leave, 31001, leave)
	err = unix.Listen(fd, 8)
	_, _, back := unix.RawSyscall(unix.SYS_SETRESUID, leave, 0, leave)
	runtime.UnlockOSThread()
	if errno != 0 || err != nil || back != 0 {
		t.Fatal(errno, err, back)
	}
	if _, err := Transport(Dial(path), path, time.Minute, true)(t.Context(), nil); !errors.Is(err, ErrImpostor) {
		t.Errorf("%v", err)
	}
	// The positive control: the same socket of root's.
	root := filepath.Join(t.TempDir(), "socket")
	listen(t, root, []int{serves}, &connections)
	if _, err := Transport(Dial(root), root, time.Minute, true)(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// listen does with each connection to a socket at path what server says.
func listen(t *testing.T, path string, server []int, connections *atomic.Int32) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n := int(connections.Add(1)) - 1
			switch server[min(n, len(server)-1)] {
			case hangsUp:
				conn.Close()
			case saysNothing:
				defer conn.Close() // with the listener
			case serves:
				_, _ = conn.Write(lifeline.Frame(lifeline.Ready, nil))
				defer conn.Close() // with the listener
			case refuses:
				_, _ = conn.Write(lifeline.Frame(lifeline.Failure, lifeline.PackRefusal(loginerror.New("words", unix.EPERM))))
				defer conn.Close() // with the listener
			}
		}
	}()
}
