// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/labs"
)

// local is a way to forward from the client. heard returns what a forward of user's gets from target.
type local struct {
	name  string
	heard func(t *testing.T, l lab, user, target string) string
}

var locals = []local{
	{"-L", func(t *testing.T, l lab, user, target string) string {
		near := freePort(t)
		background(t, l.SSH(user, "-N", "-L", near+":"+target))
		return talk(connect(t, near))
	}},
	{"-W", func(_ *testing.T, l lab, user, target string) string {
		return labs.Finish(l.SSH(user, "-W", target)).Out
	}},
	{"-D, SOCKS 4", func(t *testing.T, l lab, user, target string) string { return bySOCKS(t, l, user, target, socks4) }},
	{"-D, SOCKS 5", func(t *testing.T, l lab, user, target string) string { return bySOCKS(t, l, user, target, socks5) }},
}

func bySOCKS(t *testing.T, l lab, user, target string, ask func(io.ReadWriter, string) error) string {
	near := freePort(t)
	background(t, l.SSH(user, "-N", "-D", near))
	conn := connect(t, near)
	if err := ask(conn, target); err != nil {
		return ""
	}
	return talk(conn)
}

// In each way the client reaches what listens in the container.
func TestLocal(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		target := l.serve(t, "alice", "serve", "127.0.0.1:0")
		for _, way := range locals {
			if heard := way.heard(t, l, "alice", target); heard != greeting {
				t.Errorf("%s: %q", way.name, heard)
			}
		}
		_, port, _ := strings.Cut(target, ":")
		if heard := locals[0].heard(t, l, "alice", "localhost:"+port); heard != greeting {
			t.Errorf("by the name localhost: %q", heard)
		}
	})
}

// The container has an IPv6 loopback, too.
func TestLocalIPv6(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		target := l.serve(t, "alice", "serve", "[::1]:0")
		for _, way := range locals {
			if way.name == "-D, SOCKS 4" {
				continue // it has no such addresses
			}
			if heard := way.heard(t, l, "alice", target); heard != greeting {
				t.Errorf("%s: %q", way.name, heard)
			}
		}
	})
}

// The container reaches what listens at the client's side. The forwarded port is in the container, and
// not on the host.
func TestRemote(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		client := greeter(t, "tcp", "127.0.0.1:0")
		for _, port := range []string{"0", "18080"} {
			far := l.farPort(t, "alice", port, client)
			if r := labs.Finish(l.SSH("alice", "./rig dial 127.0.0.1:"+far)); r.Out != "outside\n" {
				t.Errorf("port %s: %+v", port, r)
			}
			if r := labs.Finish(l.SSH("admin", "./rig dial 127.0.0.1:"+far)); r.Status == 0 || !strings.Contains(r.Err, "refused") {
				t.Errorf("port %s is in reach of the host: %+v", port, r)
			}
		}
		// For the administrator it is the host's.
		far := l.farPort(t, "admin", "0", client)
		if r := labs.Finish(l.SSH("admin", "./rig dial 127.0.0.1:"+far)); r.Out != "outside\n" {
			t.Errorf("for admin: %+v", r)
		}
	})
}

// farPort forwards a port of the far side to address, and returns which it is.
func (l lab) farPort(t *testing.T, user, port, address string) string {
	t.Helper()
	cmd := l.SSH(user, "-v", "-N", "-o", "ExitOnForwardFailure=yes", "-R", port+":"+address)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var said strings.Builder
	for lines := bufio.NewReader(stderr); ; {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		var allocated int
		switch {
		case err != nil:
			t.Fatalf("-R %s: %v: %s", port, err, said.String())
		case port != "0" && strings.Contains(line, "remote forward success"):
			go io.Copy(io.Discard, lines) // or the client would block when the pipe is full
			return port
		case strings.HasPrefix(line, "Allocated port "):
			if _, err := fmt.Sscanf(line, "Allocated port %d", &allocated); err == nil {
				go io.Copy(io.Discard, lines) // as above
				return fmt.Sprint(allocated)
			}
		}
	}
}

// A client with ExitOnForwardFailure ends if its port is taken in the container.
func TestExitOnForwardFailure(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		// On both loopbacks: one that is free would be enough for sshd.
		port := strings.TrimPrefix(l.serve(t, "alice", "serve", "[::]:0"), "[::]:")
		r := labs.Finish(l.SSH("alice", "-o", "ExitOnForwardFailure=yes", "-R", port+":127.0.0.1:1", "true"))
		if r.Status != 255 || !strings.Contains(r.Err, "remote port forwarding failed for listen port "+port) {
			t.Errorf("%+v", r)
		}
	})
}

// By way of the gateway to an ssh server in the container.
func TestProxyJump(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		_, port, _ := strings.Cut(l.serve(t, "alice", "sshd", "127.0.0.1:0"), ":")
		args := []string{"-J", "alice", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", port, "-l", "me", "127.0.0.1", "x"}
		cmd := l.SSH(args[0], args[1:]...)
		if r := labs.Finish(cmd); r.Out != "jumped\n" {
			t.Errorf("%+v", r)
		}
	})
}

// Forwards may be added to a connection later.
func TestControlMaster(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		target := l.serve(t, "alice", "serve", "127.0.0.1:0")
		m := l.master(t, "alice")
		near := freePort(t)
		if r := m.run("-O", "forward", "-L", near+":"+target); r.Status != 0 {
			t.Fatalf("%+v", r)
		}
		if heard := talk(connect(t, near)); heard != greeting {
			t.Errorf("-L, added: %q", heard)
		}
		client := greeter(t, "tcp", "127.0.0.1:0")
		far := strings.TrimSpace(m.run("-O", "forward", "-R", "0:"+client).Out)
		if r := m.run("./rig dial 127.0.0.1:" + far); r.Out != "outside\n" {
			t.Errorf("-R, added: %+v", r)
		}
	})
}

// Fifty connections at once by one forward.
func TestFiftyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		target := l.serve(t, "alice", "serve", "127.0.0.1:0")
		near := freePort(t)
		background(t, l.SSH("alice", "-N", "-L", near+":"+target))
		var wait sync.WaitGroup
		var open []interface{ CloseWrite() error }
		heard := make([]string, 50)
		for i := range heard {
			conn := connect(t, near)
			if line, err := bufio.NewReader(io.LimitReader(conn, 7)).ReadString('\n'); line != "inside\n" {
				t.Fatalf("connection %d: %q, %v", i, line, err)
			}
			open = append(open, conn)
			wait.Go(func() {
				rest, _ := io.ReadAll(conn)
				heard[i] = string(rest)
			})
		}
		for _, conn := range open { // all fifty are open by now
			_ = conn.CloseWrite()
		}
		wait.Wait()
		for i, text := range heard {
			if text != "0 bytes\n" {
				t.Errorf("connection %d: %q", i, text)
			}
		}
	})
}

// A GiB goes through one forward, and its sender still gets the answer after its own end of file.
func TestBulk(t *testing.T) {
	l := all[0]
	target := l.serve(t, "alice", "serve", "127.0.0.1:0")
	near := freePort(t)
	background(t, l.SSH("alice", "-N", "-L", near+":"+target))
	conn := connect(t, near)
	if err := conn.SetDeadline(time.Now().Add(5 * patience)); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	for range 1 << 10 {
		if _, err := conn.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if heard := talk(conn); heard != fmt.Sprintf("inside\n%d bytes\n", 1<<30) {
		t.Errorf("%q", heard)
	}
}

// A connection through a forward outlives the session of its client, as with any sshd.
func TestForwardOutlivesSession(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		target := l.serve(t, "alice", "serve", "127.0.0.1:0")
		near := freePort(t)
		in, out := labs.StartWithPipes(t, l.SSH("alice", "-L", near+":"+target, "cat; echo ended >&2; echo ended"))
		conn := connect(t, near)
		_ = in.Close()
		if line, err := out.ReadString('\n'); line != "ended\n" {
			t.Fatalf("the session says %q, %v", line, err)
		}
		if heard := talk(conn); heard != greeting {
			t.Errorf("after the session: %q", heard)
		}
	})
}

// What editors do: a shell without a terminal, its script on its input, which starts a server
// on a port of the loopback; then many channels by way of a SOCKS proxy. When the last client has gone,
// nothing of it is left.
func TestEditor(t *testing.T) {
	each(t, func(t *testing.T, l lab) {
		for range 2 { // the second time is what editors call a reconnect
			near := freePort(t)
			cmd := l.SSH("alice", "-T", "-D", near, "bash")
			in, out := labs.StartWithPipes(t, cmd)
			fmt.Fprint(in, "mkfifo -m 600 /tmp/hold.$$; exec 9<>/tmp/hold.$$; rm /tmp/hold.$$\n"+
				"./rig serve 127.0.0.1:0 <&9 &\n")
			target, err := out.ReadString('\n')
			if err != nil || !strings.Contains(target, "127.0.0.1:") {
				t.Fatalf("where the server listens: %q, %v", target, err)
			}
			target = strings.TrimSpace(target)
			var wait sync.WaitGroup
			heard := make([]string, 20)
			for i := range heard {
				conn := connect(t, near)
				wait.Go(func() {
					if socks5(conn, target) == nil {
						heard[i] = talk(conn)
					}
				})
			}
			wait.Wait()
			for i, text := range heard {
				if text != greeting {
					t.Errorf("channel %d: %q", i, text)
				}
			}
			_ = cmd.Process.Kill()
			labs.Eventually(t, patience, func() (bool, string) {
				r := labs.Finish(l.SSH("alice", "ps -o args= -u $(id -u) | grep '[r]ig serve'; true"))
				return r.Out == "" && r.Status == 0, fmt.Sprintf("left: %+v", r)
			})
		}
	})
}
