// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"berth/test/labs"
)

// A master is a connection that several sessions and forwards share.
type master struct {
	lab
	user, socket string
}

func (l lab) master(t *testing.T, user string) master {
	t.Helper()
	socket, _ := l.Master(t, user)
	return master{l, user, socket}
}

func (m master) run(args ...string) labs.Result {
	return labs.Finish(m.SSH(m.user, append([]string{"-S", m.socket}, args...)...))
}

// oneLine is what a user reads whose session is refused.
var oneLine = regexp.MustCompile(`^berth: [^\n]* \(id [0-9a-f]{8}-[0-9a-f]{8}\)\n$`)

// A connection whose container has gone, or was started anew, reaches nothing any more: not the host, and
// not the new container. A new session on it is told to connect again, and who does has all of it.
func TestContainerAnew(t *testing.T) {
	eachNew(t, func(t *testing.T, l lab) {
		m := l.master(t, "alice")
		serve := func() string { return l.serve(t, "alice", "serve", "127.0.0.1:0") }
		if r := m.run("-W", serve()); r.Out != greeting {
			t.Fatalf("before: %+v", r)
		}
		host := greeter(t, "tcp", "127.0.0.1:0")
		if r := labs.Finish(l.SSH("admin", "-W", host)); r.Out != "outside\n" {
			t.Fatalf("the host is out of reach of admin, too: the test shows nothing: %+v", r)
		}
		check := func(when string, targets ...string) {
			t.Helper()
			for _, target := range append(targets, host) {
				if r := m.run("-W", target); r.Out != "" {
					t.Errorf("%s: by the old connection: %+v", when, r)
				}
			}
			if r := m.run("true"); r.Status != 255 || !oneLine.MatchString(r.Err) || !strings.Contains(r.Err, "connect again") {
				t.Errorf("%s: a session on the old connection: %+v", when, r)
			}
		}
		end := []string{"kill"} // PAM starts it again; one that all share is not PAM's to make
		if l.name == "user" {
			end = []string{"rm", "-f"}
		}
		if out, err := exec.Command("docker", append(end, l.ContainerOf(t, "alice"))...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if l.name == "user" { // elsewhere the session would start the container again
			check("gone")
		}
		if r := labs.Finish(l.SSH("alice", "true")); r.Status != 0 { // PAM makes it anew
			t.Fatalf("a new connection: %+v", r)
		}
		target := serve()
		check("anew", target)
		if r := labs.Finish(l.SSH("alice", "-W", target)); r.Out != greeting {
			t.Errorf("by a new connection: %+v", r)
		}
	})
}

// On a host whose PAM has no line that leads into the container nobody may forward, and nobody whose profile
// may gets a session; the administrator is told what is missing.
func TestLineMissing(t *testing.T) {
	eachNew(t, func(t *testing.T, l lab) {
		host := greeter(t, "tcp", "127.0.0.1:0")
		l.Exec(t, "sed", "-i", "/pam_berth.so container/d", "/etc/pam.d/sshd")
		if r := labs.Finish(l.SSH("admin", "-W", host)); r.Out != "outside\n" {
			t.Fatalf("the host is out of reach of admin, too: the test shows nothing: %+v", r)
		}
		for _, way := range locals {
			if heard := way.heard(t, l, "alice", host); heard != "" {
				t.Errorf("%s: alice hears %q", way.name, heard)
			}
		}
		r := labs.Finish(l.SSH("alice", "true"))
		if r.Status != 255 || !oneLine.MatchString(r.Err) || !strings.Contains(r.Err, "administrator") {
			t.Errorf("a session: %+v", r)
		}
		if r := l.Try("berth", "status"); r.Status == 0 || !strings.Contains(r.Out+r.Err, "pam_berth.so container") {
			t.Errorf("berth status: %+v", r)
		}
	})
}
