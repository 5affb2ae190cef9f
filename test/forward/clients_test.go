// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/test/labs"
)

// Other clients than OpenSSH's: each prints what it hears in the container by a local forward,
// and what a session there hears by a remote one.
func TestClients(t *testing.T) {
	libssh := filepath.Join(t.TempDir(), "libssh")
	if out, err := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-o", libssh, "clients/libssh.c", "-lssh").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	each(t, func(t *testing.T, l lab) {
		text, err := os.ReadFile(l.Path("port"))
		if err != nil {
			t.Fatal(err)
		}
		port, key := strings.TrimSpace(string(text)), l.Path("keys/alice")
		target := l.serve(t, "alice", "serve", "127.0.0.1:0")
		client := greeter(t, "tcp", "127.0.0.1:0")
		_, targetPort, _ := strings.Cut(target, ":")
		_, clientPort, _ := strings.Cut(client, ":")
		args := []string{port, key, "alice", targetPort, clientPort}
		for name, command := range map[string][]string{
			"asyncssh": {"/usr/bin/python3", "clients/by_asyncssh.py"}, "paramiko": {"/usr/bin/python3", "clients/by_paramiko.py"}, "libssh": {libssh},
		} {
			r := labs.Finish(exec.Command(command[0], append(command[1:], args...)...))
			if r.Status != 0 || r.Out != greeting+"outside\n" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if local, remote := byGo(t, port, key, target, client); local != greeting || remote != "outside\n" {
			t.Errorf("x/crypto/ssh: %q, %q", local, remote)
		}
		if local, remote := byPlink(t, l, port, key, target, client); local != greeting || remote != "outside\n" {
			t.Errorf("plink: %q, %q", local, remote)
		}
	})
}

func byGo(t *testing.T, port, key, target, client string) (local, remote string) {
	t.Helper()
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ssh.Dial("tcp", "127.0.0.1:"+port, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := c.Dial("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	heard, _ := io.ReadAll(conn)
	far, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := far.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if near, err := net.Dial("tcp", client); err == nil {
			_, _ = io.Copy(conn, near)
		}
	}()
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Output("./rig dial " + far.Addr().String())
	if err != nil {
		t.Error(err)
	}
	return string(heard), string(out)
}

func byPlink(t *testing.T, l lab, port, key, target, client string) (local, remote string) {
	t.Helper()
	ppk := filepath.Join(t.TempDir(), "key.ppk")
	if out, err := exec.Command("puttygen", key, "-o", ppk, "-O", "private").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	fingerprint, err := exec.Command("ssh-keygen", "-lf", l.Path("keys/host.pub")).Output()
	if err != nil {
		t.Fatal(err)
	}
	plink := func(args ...string) *exec.Cmd {
		return exec.Command("plink", append([]string{"-batch", "-i", ppk, "-hostkey", strings.Fields(string(fingerprint))[1], "-P", port, "-l", "alice"}, args...)...)
	}
	near := freePort(t)
	background(t, plink("-N", "-L", near+":"+target, "127.0.0.1"))
	local = talk(connect(t, near))
	// With port 0 plink would not say which port it was given.
	const far = "18090"
	r := labs.Finish(plink("-R", "127.0.0.1:"+far+":"+client, "127.0.0.1", "./rig dial 127.0.0.1:"+far))
	return local, r.Out
}
