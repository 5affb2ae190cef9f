// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"net"
	"os"
	"strings"
	"testing"

	"berth/test/labs"
)

// nameServer answers every question with address, at port 53 of that address.
func nameServer(t *testing.T, address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "53"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for message := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(message)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			// RFC 1035, 4.1: the header, the question as it came, and for A one answer that points to its name.
			answer := append([]byte{message[0], message[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, message[12:n]...)
			end := 12
			for end < n && answer[end] != 0 {
				end += 1 + int(answer[end])
			}
			answer = answer[:min(end+5, n)] // nothing of EDNS
			if end+2 < n && answer[end+2] == 1 {
				answer[7] = 1
				answer = append(append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4), net.ParseIP(address).To4()...)
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
}

// sshd looks the name of a forward up, with the host's files and from the container's network. (That
// localhost works is in TestLocal.)
func TestNames(t *testing.T) {
	gateway := address(t, bridge)
	l, err := raise(t.TempDir(), "bridge", "[container]\nnetwork = \"bridge\"\n"+forwards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Down)
	service := greeter(t, "tcp", net.JoinHostPort(gateway, "0"))
	_, port, _ := strings.Cut(service, ":")
	reaches := func(name string) labs.Result { return labs.Finish(l.SSH("alice", "-v", "-W", name+":"+port)) }
	failed := func(name, words string) {
		t.Helper()
		if r := reaches(name); r.Out != "" || !strings.Contains(r.Err, words) {
			t.Errorf("%s: want it to fail with %q: %+v", name, words, r)
		}
	}
	if r := reaches(gateway); r.Out != "outside\n" {
		t.Fatalf("with its address: %+v", r)
	}
	l.Exec(t, "sh", "-c", "echo "+gateway+" known.example >>/etc/hosts")
	if r := reaches("known.example"); r.Out != "outside\n" {
		t.Errorf("a name of the host's /etc/hosts: %+v", r)
	}
	nameServer(t, gateway)
	l.Exec(t, "sh", "-c", "echo nameserver "+gateway+" >/etc/resolv.conf")
	if r := reaches("server.example"); r.Out != "outside\n" {
		t.Errorf("a name that a server in reach knows: %+v", r)
	}
	// A host with systemd-resolved, whose server listens on the host's loopback: that is not the container's.
	l.Exec(t, "sh", "-c", "echo nameserver 127.0.0.53 >/etc/resolv.conf")
	failed("server.example", "Temporary failure in name resolution")
	name := strings.TrimSpace(labs.Finish(l.SSH("alice", "cat /proc/sys/kernel/hostname")).Out)
	if host, _ := os.Hostname(); name == "" || name == host {
		t.Fatalf("the container is called %q", name)
	}
	failed(name, "name resolution")
}
