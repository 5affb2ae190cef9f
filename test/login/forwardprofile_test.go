// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"os"
	"strings"
	"testing"
)

// sshd lets each user forward what their profile says, and refuses the rest. Where a forward leads to is another
// question: nobody listens at these ports, neither on the host nor in a container.
func TestForwardsByProfile(t *testing.T) {
	port := freePort(t)
	l := newLab(t, `
[profile.local]
users = ["alice"]
[profile.local.session]
forward = ["local"]
[profile.none]
users = ["bob"]
[profile.ports]
groups = ["potters"]
[profile.ports.session]
forward = ["local", "remote"]
permit_open = ["localhost:7", "[::1]:7"]
permit_listen = ["`+port+`"]
`)
	const let, refused = "let through", "refused by sshd"
	open := func(user, address string) string {
		r := finish(l.SSH(user, "-v", "-W", address))
		switch {
		case strings.Contains(r.Err, "open failed: administratively prohibited"):
			return refused
		case strings.Contains(r.Err, "open failed: connect failed"):
			return let
		}
		t.Fatalf("-W %s by %s: %+v", address, user, r)
		return ""
	}
	listen := func(user, port string) string {
		r := finish(l.SSH(user, "-v", "-R", port+":localhost:1", "true"))
		switch {
		case strings.Contains(r.Err, "remote port forwarding failed"):
			return refused
		case strings.Contains(r.Err, "remote forward success"):
			return let
		}
		t.Fatalf("-R %s by %s: %+v", port, user, r)
		return ""
	}
	for _, c := range []struct{ user, address, want string }{
		{"alice", "127.0.0.1:7", let}, {"alice", "localhost:9", let}, {"alice", "[::1]:9", let},
		{"bob", "127.0.0.1:7", refused}, {"bob", "localhost:7", refused}, // a potter, and yet of an earlier profile
		{"carol", "localhost:7", let}, {"carol", "[::1]:7", let}, {"carol", "localhost:9", refused}, {"carol", "127.0.0.1:7", refused},
		{"dave", "localhost:7", refused}, // of no profile
		{"admin", "localhost:9", let},
	} {
		if got := open(c.user, c.address); got != c.want {
			t.Errorf("-W %s by %s is %s, should be %s", c.address, c.user, got, c.want)
		}
	}
	for _, c := range []struct{ user, port, want string }{
		{"carol", port, let}, {"carol", "0", refused}, {"alice", port, refused}, {"bob", port, refused}, {"admin", "0", let},
	} {
		if got := listen(c.user, c.port); got != c.want {
			t.Errorf("-R %s by %s is %s, should be %s", c.port, c.user, got, c.want)
		}
	}
}

// A container without a network has both loopbacks: a forward may lead to ::1.
func TestLoopbackOfTheContainer(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6")
	}
	out := lab.run(t, "alice", "cat /proc/net/if_inet6; ls /sys/class/net")
	if !strings.Contains(out, strings.Repeat("0", 31)+"1 ") || !strings.HasSuffix(out, "\nlo\n") {
		t.Errorf("%s", out)
	}
}

// freePort is a port of the loopback that nobody has now.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
