// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

// greeter is a service of the host that says one word to whoever connects.
func greeter(t *testing.T, network, address string) string {
	t.Helper()
	return labs.Greeter(t, network, address, "reached")
}

// dialForward returns what a client hears that connects by a forward which ssh offers at
// address.
func dialForward(t *testing.T, ssh *exec.Cmd, network, address string) string {
	t.Helper()
	if err := ssh.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = ssh.Process.Kill()
		_ = ssh.Wait()
	}()
	var conn net.Conn
	eventually(t, patience, func() (bool, string) {
		var err error
		conn, err = net.Dial(network, address)
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error(err)
	}
	return string(text)
}

// Nothing of the host is in reach by way of ssh itself. Each way works for admin,
// who is no user of the gateway, on the same host and by the same client.
func noForwarding(t *testing.T) {
	tcp := greeter(t, "tcp", "127.0.0.1:0")
	service := lab.Path("greeter")
	greeter(t, "unix", service)
	if err := os.Chmod(service, 0o777); err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(t.TempDir(), "agent")
	daemon := exec.Command("ssh-agent", "-D", "-a", agent)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	eventually(t, patience, func() (bool, string) { _, err := os.Lstat(agent); return err == nil, "no agent" })
	const prohibited = "administratively prohibited"
	for way, does := range map[string]func(host string) (works, refused bool, seen any){
		"-W": func(host string) (bool, bool, any) {
			r := finish(lab.SSH(host, "-v", "-W", tcp))
			return r.Out == "reached\n", r.Out == "" && strings.Contains(r.Err, prohibited), r
		},
		"-L, a socket of the host": func(host string) (bool, bool, any) {
			near := filepath.Join(t.TempDir(), "near")
			heard := dialForward(t, lab.SSH(host, "-N", "-L", near+":"+service), "unix", near)
			return heard == "reached\n", heard == "", heard
		},
		"-R": func(host string) (bool, bool, any) {
			r := finish(lab.SSH(host, "-o", "ExitOnForwardFailure=yes", "-R", "0:"+tcp, "true"))
			return r.Status == 0, r.Status != 0 && strings.Contains(r.Err, "remote port forwarding failed"), r
		},
		"-R, a socket of the host": func(host string) (bool, bool, any) {
			r := finish(lab.SSH(host, "-o", "ExitOnForwardFailure=yes", "-R", fmt.Sprintf("/home/%s/far%d:%s", host, marks.Add(1), tcp), "true"))
			return r.Status == 0, r.Status != 0 && strings.Contains(r.Err, "remote port forwarding failed"), r
		},
		"-A": func(host string) (bool, bool, any) {
			r := finish(lab.SSH(host, "-A", "-o", "IdentityAgent="+agent, `echo "${SSH_AUTH_SOCK-none}"; test -S "$SSH_AUTH_SOCK"`))
			return r.Status == 0, r.Out == "none\n" && r.Status == 1, r
		},
		// No forward: what is in reach of a command.
		"the engine, the lifelines": func(host string) (bool, bool, any) {
			r := finish(lab.SSH(host, "ls -d /run/docker.sock /var/run/docker.sock /var/lib/berth/lifeline 2>&1"))
			missing := strings.Count(r.Out, "No such file") + strings.Count(r.Out, "ermission denied")
			return r.Status == 0, missing == 3, r
		},
	} {
		if works, _, seen := does("admin"); !works {
			t.Errorf("%s: does not work for admin either: the test shows nothing: %+v", way, seen)
		}
		if works, refused, seen := does("alice"); works || !refused {
			t.Errorf("%s: not refused: %+v", way, seen)
		}
	}
	if out := lab.run(t, "alice", "ls /run/berth/lifeline 2>&1; true"); !strings.Contains(out, "ermission denied") && !strings.Contains(out, "No such file") {
		t.Errorf("in reach: %s", out)
	}
}
