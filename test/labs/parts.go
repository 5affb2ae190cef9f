// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"fmt"
	"io"
	"net"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// ContainerOf is the name of the container that user logs in to.
func (l *Lab) ContainerOf(t testing.TB, user string) string {
	t.Helper()
	target := l.Exec(t, "sh", "-c", `readlink "/var/lib/berth/users/$1" || readlink /var/lib/berth/users/any`, "sh", l.UID(t, user))
	return path.Base(strings.TrimSpace(target))
}

// Master opens a connection that clients with -S socket share, and returns that and what closes the connection,
// as the test's end does.
func (l *Lab) Master(t testing.TB, user string) (socket string, hangUp func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "master")
	cmd := l.SSH(user, "-M", "-S", socket, "-N")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hangUp = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(hangUp)
	Eventually(t, Patience, func() (bool, string) {
		r := Finish(l.SSH(user, "-S", socket, "-O", "check"))
		return r.Status == 0, fmt.Sprintf("%+v", r)
	})
	return socket, hangUp
}

// Greeter is a service of this machine that says a line to whoever connects, and where it is.
func Greeter(t testing.TB, network, address, line string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, line+"\n")
			conn.Close()
		}
	}()
	return l.Addr().String()
}
