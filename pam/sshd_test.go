// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server is an sshd on the loopback, in a machine's namespace.
type server struct {
	*site
	pid, port int
}

const sshdConfig = `ListenAddress 127.0.0.1
Port %d
HostKey %[2]s/hostkey
AuthorizedKeysFile %[2]s/key.pub
PidFile none
StrictModes no
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication yes
PermitRootLogin no
UseDNS no
PrintLastLog no
`

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{site: newMachine(t, "MODULE")}
	s.listen()
	for _, key := range []string{"hostkey", "key"} {
		s.shell("ssh-keygen -q -t ed25519 -N '' -f " + s.dir + "/" + key)
	}
	s.shell("chmod 644 " + s.dir + "/key.pub")
	s.write("askpass", "#!/bin/sh\necho berth\n", 0o755)
	for try := 1; !s.start(); try++ {
		if try == 8 {
			t.Fatal("no port is free")
		}
	}
	s.write("known", fmt.Sprintf("[127.0.0.1]:%d %s", s.port, s.text(s.dir+"/hostkey.pub")), 0o600)
	return s
}

// start reports false where somebody else took the port that was free.
func (s *server) start() bool {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	s.write("sshd_config", fmt.Sprintf(sshdConfig, s.port, s.dir), 0o600)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := s.command(ctx, furnish+"exec /usr/sbin/sshd -D -e -f $S/sshd_config")
	stderr, err := cmd.StderrPipe()
	s.must(err)
	s.must(cmd.Start())
	s.pid = cmd.Process.Pid
	said := ""
	text := bufio.NewScanner(stderr)
	for text.Scan() {
		said += text.Text() + "\n"
		if strings.Contains(said, "Server listening on") {
			done := make(chan struct{})
			go func() {
				defer close(done)
				for text.Scan() {
					continue // nobody's
				}
			}()
			s.t.Cleanup(func() { cancel(); <-done; _ = cmd.Wait() })
			return true
		}
	}
	cancel()
	_ = cmd.Wait()
	if !strings.Contains(said, "Address already in use") {
		s.t.Fatalf("sshd: %s", said)
	}
	return false
}

func (s *server) ssh(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "ssh", append([]string{"-F", "none", "-p", fmt.Sprint(s.port), "-i", s.dir + "/key", "-l", user, "-S", s.dir + "/control",
		"-o", "UserKnownHostsFile=" + s.dir + "/known", "-o", "GlobalKnownHostsFile=none", "-o", "IdentityAgent=none", "-o", "NumberOfPasswordPrompts=1", "-o", "LogLevel=ERROR"}, args...)...)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+s.dir+"/askpass", "SSH_ASKPASS_REQUIRE=force")
	return cmd
}

// children are a process's.
func children(t *testing.T, pid string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, path := range paths {
		text, _ := os.ReadFile(path) // a thread may have ended
		all = append(all, strings.Fields(string(text))...)
	}
	return all
}

// ended waits until sshd has ended and buried all that served a connection.
func (s *server) ended() {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // no event tells it
		left := children(s.t, fmt.Sprint(s.pid))
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			s.t.Fatalf("sshd keeps %v", left)
		}
	}
	s.noWorker()
}

// What sshd does with pam_berth is what it does with pam_mkhomedir.
func TestSSHD(t *testing.T) {
	for _, method := range []string{"publickey", "password", "keyboard-interactive"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			for _, kind := range []string{"no tty", "tty", "shell"} {
				outs := map[string]string{}
				for _, module := range []string{"MODULE", "pam_mkhomedir.so"} {
					s.must(os.RemoveAll(s.home()))
					s.stack(module)
					outs[module] = s.login(kind, method) + s.login(kind, method)
					if module == "MODULE" {
						s.whole(0o750)
					}
				}
				if a, b := outs["MODULE"], outs["pam_mkhomedir.so"]; a != b {
					t.Errorf("%s: printed\n%s\nand with pam_mkhomedir\n%s", kind, a, b)
				}
				if told := strings.Count(outs["MODULE"], "Creating directory '/home/nina'."); (told == 1) != (kind == "shell") {
					t.Errorf("%s: told %d times", kind, told)
				}
			}
		})
	}
}

// login opens one session, and returns what the user sees of it.
func (s *server) login(kind, method string) string {
	s.t.Helper()
	command := s.dir + "/seen; if [ -t 0 ]; then echo terminal; fi; exit"
	args := []string{"-T", "-o", "PreferredAuthentications=" + method, "127.0.0.1"}
	if kind != "no tty" {
		args[0] = "-tt"
	}
	if kind != "shell" {
		args = append(args, command)
	}
	cmd := s.ssh(args...)
	in, err := cmd.StdinPipe()
	s.must(err)
	stdout, err := cmd.StdoutPipe()
	s.must(err)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	s.must(cmd.Start())
	var out []byte
	for b := make([]byte, 1); ; { // the terminal echoes: type when the prompt is there
		if _, err := stdout.Read(b); err != nil {
			break
		}
		if out = append(out, b[0]); kind == "shell" && bytes.HasSuffix(out, []byte("\n$ ")) {
			fmt.Fprintln(in, command)
		}
	}
	if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
		s.t.Fatalf("%s, %s: %v: %s%s", method, kind, err, out, complaints.String())
	}
	s.ended()
	text := string(out)
	want(s.t, text, "in nina /home/nina")
	if terminal := strings.Contains(text, "terminal\r\n"); terminal != (kind != "no tty") || strings.Contains(text, "beside:") {
		s.t.Errorf("%s, %s: %s", method, kind, text)
	}
	return text
}
