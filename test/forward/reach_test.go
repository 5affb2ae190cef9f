// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"berth/test/labs"
)

// address is an IPv4 address of this machine, but no loopback, of the interface with that name; "" is any.
func address(t *testing.T, name string) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && (name == "" || i.Name == name) {
				return n.IP.String()
			}
		}
	}
	t.Fatalf("this machine has no address but the loopback's (%s)", name)
	return ""
}

// bridge is the engine's, by whose address containers with a network reach this machine.
const bridge = "docker0"

// Nothing of the host listens where alice's forwards lead. The administrator's reach all of it, by the
// same client through the same sshd.
func TestReach(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		port, err := os.ReadFile(l.Path("port"))
		if err != nil {
			t.Fatal(err)
		}
		targets := map[string]string{
			"the gateway's sshd":        "127.0.0.1:" + strings.TrimSpace(string(port)),
			"the loopback":              greeter(t, "tcp", "127.0.0.1:0"),
			"the loopback of IPv6":      greeter(t, "tcp", "[::1]:0"),
			"the host's address":        greeter(t, "tcp", net.JoinHostPort(address(t, ""), "0")),
			"the gateway of containers": greeter(t, "tcp", net.JoinHostPort(address(t, bridge), "0")),
		}
		if l.name == "user" {
			targets["a server in a container of bob's"] = l.serve(t, "bob", "serve", "127.0.0.1:0")
		}
		for what, target := range targets {
			for _, way := range locals {
				if way.name == "-D, SOCKS 4" && strings.HasPrefix(target, "[") {
					continue
				}
				control := "admin"
				if strings.Contains(what, "bob") {
					control = "bob"
				}
				if heard := way.heard(t, l, control, target); heard == "" {
					t.Errorf("%s, %s: out of reach of %s, too: the test shows nothing", what, way.name, control)
				}
				if heard := way.heard(t, l, "alice", target); heard != "" {
					t.Errorf("%s, %s: alice hears %q", what, way.name, heard)
				}
			}
		}
	})
}

// What stays off although ports may be forwarded: sockets, other addresses than the loopback's, tunnels, X11.
func TestWhatStaysOff(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		service := l.Path("service")
		_ = os.Remove(service)
		greeter(t, "unix", service)
		if err := os.Chmod(service, 0o777); err != nil {
			t.Fatal(err)
		}
		for way, works := range map[string]func(user string) (bool, any){
			"-L, a socket of the host's": func(user string) (bool, any) {
				near := freePort(t)
				background(t, l.SSH(user, "-N", "-L", near+":"+service))
				heard := talk(connect(t, near))
				return heard != "", heard
			},
			"-R, a socket of the host's": func(user string) (bool, any) {
				far := fmt.Sprintf("/home/%s/far", user)
				r := labs.Finish(l.SSH(user, "-o", "ExitOnForwardFailure=yes", "-R", far+":127.0.0.1:1", "true"))
				return r.Status == 0, r
			},
		} {
			if ok, seen := works("admin"); !ok {
				t.Errorf("%s: does not work for admin: the test shows nothing: %v", way, seen)
			}
			if ok, seen := works("alice"); ok {
				t.Errorf("%s: works for alice: %v", way, seen)
			}
		}
	})
}

// In a shared container nobody has the port of a name server, whose answers the others' forwards would go by.
func TestLowPorts(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		r := labs.Finish(l.SSH("alice", "./rig serve 127.0.0.1:53 </dev/null"))
		if own := l.name == "user"; (r.Status == 0) != own || !own && !strings.Contains(r.Err, "permission denied") {
			t.Errorf("%+v", r)
		}
	})
}
