// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/labs"
)

// forwardsAgents is an sshd that forwards agents, and takes SSH_AUTH_SOCK from its clients, too.
func (l *Lab) forwardsAgents(t *testing.T) variant {
	t.Helper()
	return l.variant(t, "agents", "", "Match all\n DisableForwarding no\n AllowAgentForwarding yes\n AcceptEnv SSH_AUTH_SOCK\nMatch all")
}

// clientsAgent is a real ssh-agent on the client's side with so many keys.
func clientsAgent(t *testing.T, keys int) (socket string) {
	t.Helper()
	dir := t.TempDir()
	socket = filepath.Join(dir, "agent")
	daemon := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	eventually(t, patience, func() (bool, string) { _, err := os.Lstat(socket); return err == nil, "no agent" })
	for i := range keys {
		key := filepath.Join(dir, fmt.Sprint("key", i))
		if r := finish(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", strings.Repeat("c", 900), "-f", key)); r.Status != 0 {
			t.Fatalf("%+v", r)
		}
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if r := finish(add); r.Status != 0 {
			t.Fatalf("%+v", r)
		}
	}
	return socket
}

// says is a command whose output is whether there is an agent, and where.
const says = `echo "${SSH_AUTH_SOCK-none}"`

// noAgentLeft waits until alice's sessions have left no socket.
func (l *Lab) noAgentLeft(t *testing.T) {
	t.Helper()
	eventually(t, patience, func() (bool, string) {
		r := finish(l.SSH("alice", "ls -d /tmp/berth-agent-* 2>&1"))
		return strings.Contains(r.Out, "No such file"), r.Out + r.Err
	})
}

func TestAgent(t *testing.T) {
	l := newLab(t, "[session]\nforward = [\"agent\"]\n")
	sshd, socket := l.forwardsAgents(t), clientsAgent(t, 100)
	with := func(args ...string) *exec.Cmd {
		return sshd.SSH("alice", append([]string{"-A", "-o", "IdentityAgent=" + socket}, args...)...)
	}
	t.Run("signs", func(t *testing.T) {
		key := filepath.Join(filepath.Dir(socket), "key7")
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		for name, args := range map[string][]string{"pipes": {"-T"}, "terminal": {"-tt"}} {
			r := finish(with(append(args, "echo '"+strings.TrimSpace(string(public))+"' >~/k.pub && echo hello | ssh-keygen -Y sign -n berth -f ~/k.pub 2>/dev/null")...))
			signature := filepath.Join(t.TempDir(), "signature")
			write(t, signature, strings.ReplaceAll(r.Out, "\r", ""))
			verify := exec.Command("ssh-keygen", "-Y", "check-novalidate", "-n", "berth", "-s", signature)
			verify.Stdin = strings.NewReader("hello\n")
			if v := finish(verify); r.Status != 0 || v.Status != 0 {
				t.Errorf("%s: %+v, %+v", name, r, v)
			}
		}
	})
	t.Run("many clients, big answers", func(t *testing.T) {
		r := finish(with(`for i in $(seq 20); do (ssh-add -L | sha256sum) & done | sort | uniq -c; ssh-add -L | wc -lc`))
		words := strings.Fields(r.Out)
		if len(words) != 5 || words[0] != "20" || words[3] != "100" || len(words[4]) < 5 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("whose it is", func(t *testing.T) {
		cmd := with(says + `; stat -c '%a %U' "${SSH_AUTH_SOCK%/*}"; cat`)
		in, out := labs.StartWithPipes(t, cmd)
		path, err := out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		path = strings.TrimSpace(path)
		if mode, err := out.ReadString('\n'); err != nil || mode != "700 alice\n" || !strings.HasPrefix(path, "/tmp/berth-agent-") {
			t.Errorf("%q: %q, %v", path, mode, err)
		}
		list := "SSH_AUTH_SOCK=" + path + " ssh-add -l 2>&1"
		if r := finish(l.SSH("alice", list)); r.Status != 0 {
			t.Errorf("another session of alice's: %+v", r)
		}
		if r := finish(l.SSH("bob", list)); r.Status != 2 || !strings.Contains(r.Out, "Error connecting to agent") {
			t.Errorf("bob: %+v", r)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		l.noAgentLeft(t)
	})
	t.Run("each session of a connection", func(t *testing.T) {
		control := filepath.Join(t.TempDir(), "c")
		_, out := labs.StartWithPipes(t, with("-M", "-S", control, says+"; cat"))
		first, err := out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		r := finish(with("-S", control, says+"; ssh-add -l | wc -l"))
		second, count, _ := strings.Cut(r.Out, "\n")
		if second+"\n" == first || !strings.HasPrefix(second, "/tmp/berth-agent-") || count != "100\n" {
			t.Errorf("%q, %+v", first, r)
		}
		if r := finish(l.SSH("alice", "SSH_AUTH_SOCK="+second+" ssh-add -l 2>&1")); r.Status != 2 {
			t.Errorf("after its session: %+v", r)
		}
	})
	t.Run("client killed", func(t *testing.T) {
		cmd := with("ssh-add -l | wc -l; cat")
		_, out := labs.StartWithPipes(t, cmd)
		if line, err := out.ReadString('\n'); err != nil || line != "100\n" {
			t.Fatalf("%q, %v", line, err)
		}
		_ = cmd.Process.Kill()
		l.noAgentLeft(t)
	})
	t.Run("supervisor killed", func(t *testing.T) {
		if r := finish(with("ssh-add -l | wc -l; kill -9 $PPID; sleep 60")); r.Out != "100\n" || r.Status != 255 {
			t.Errorf("%+v", r)
		}
		l.noAgentLeft(t)
	})
	t.Run("none for", func(t *testing.T) {
		if r := finish(sshd.SSH("alice", says)); r.Out != "none\n" {
			t.Errorf("who asks for none: %+v", r)
		}
		other := lab.forwardsAgents(t)
		for host, want := range map[string]string{"alice": "none\n", "admin": "/tmp/ssh-"} {
			r := finish(other.SSH(host, "-A", "-o", "IdentityAgent="+socket, says))
			if !strings.HasPrefix(r.Out, want) {
				t.Errorf("a profile without it, %s: %+v", host, r)
			}
		}
	})
}

// What stays after its session has no agent: the socket has gone.
func TestAgentWithLinger(t *testing.T) {
	l := newLab(t, "[session]\nforward = [\"agent\"]\nlinger = \"1m\"\n")
	sshd, socket := l.forwardsAgents(t), clientsAgent(t, 1)
	r := finish(sshd.SSH("alice", "-A", "-o", "IdentityAgent="+socket, says+`; ssh-add -l | wc -l
		(trap '' HUP; while test -e "$SSH_AUTH_SOCK"; do sleep 0.05; done; ssh-add -l >~/after 2>&1; echo $? >>~/after; touch ~/done) >/dev/null 2>&1 </dev/null &`))
	path, count, _ := strings.Cut(r.Out, "\n")
	if r.Status != 0 || !strings.HasPrefix(path, "/tmp/berth-agent-") || count != "1\n" {
		t.Fatalf("%+v", r)
	}
	eventually(t, patience, func() (bool, string) {
		_, err := os.Stat(l.Path("home/alice/done"))
		return err == nil, "it does not see the end"
	})
	text, err := os.ReadFile(l.Path("home/alice/after"))
	if err != nil || !strings.HasSuffix(string(text), "\n2\n") {
		t.Errorf("%q, %v", text, err)
	}
	l.noAgentLeft(t)
}

// perlListen is a process that listens on the path that is its argument, and prints what it gets.
const perlListen = `use strict; use Socket; umask 0; $| = 1;
socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die "$!"; listen($s, 9) or die;
print "listens\n";
while (accept(my $c, $s)) { my $text = ""; sysread($c, $text, 100); print "got $text\n"; }`

const perlSay = `use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; connect($s, pack_sockaddr_un($ARGV[0])) or die "$!"; syswrite($s, "word")`

// A path that is not sshd's leads nowhere, whoever listens there; the user's own home alone is
// named in the container as on the host.
func TestAgentPathLeadsNowhere(t *testing.T) {
	l := newLab(t, "[session]\nforward = [\"agent\"]\n")
	l.run(t, "alice", "true")
	sshd := l.forwardsAgents(t)
	socket := clientsAgent(t, 1)
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	own, roots := filepath.Join(dir, "own"), filepath.Join(dir, "root")
	_, ownSays := labs.StartWithPipes(t, l.AsUser("alice", "perl", "-e", perlListen, own))
	_, rootSays := labs.StartWithPipes(t, l.Command("perl", "-e", perlListen, roots))
	for _, out := range []interface{ ReadString(byte) (string, error) }{ownSays, rootSays} {
		if line, err := out.ReadString('\n'); err != nil || line != "listens\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a listener of her own": own, "root's": roots, "a link": link, "the engine's": "/run/docker.sock", "the log's": "/dev/log",
		"an agent of the client's host": socket, "relative": "own", "abstract": "@own", "above": "/home/alice/../../" + own, "too long": "/tmp/" + strings.Repeat("x/", 60) + "s",
	} {
		if r := finish(sshd.SSH("alice", "-o", "SetEnv=SSH_AUTH_SOCK="+path, says)); r.Status != 0 || r.Out != "none\n" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	l.awaitLog(t, "the session has no agent: agent: ", own, "is not the socket of this session's sshd")
	// The host's own users reach them; and nobody else has said a word before.
	for name, c := range map[string]struct {
		say interface {
			CombinedOutput() ([]byte, error)
		}
		out interface{ ReadString(byte) (string, error) }
	}{"own": {l.AsUser("alice", "perl", "-e", perlSay, own), ownSays}, "root": {l.AsUser("alice", "perl", "-e", perlSay, roots), rootSays}} {
		if out, err := c.say.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		line, err := c.out.ReadString('\n')
		for line == "got \n" { // berth-session, which has asked the kernel who listens
			line, err = c.out.ReadString('\n')
		}
		if err != nil || line != "got word\n" {
			t.Errorf("%s: %q, %v", name, line, err)
		}
	}

	// Where OpenSSH 10.1 has it. Programs in the container connect by themselves.
	home := "/home/alice/.ssh/agent/s.berth"
	l.Exec(t, "install", "-d", "-m", "700", "-o", "alice", "-g", "alice", filepath.Dir(home))
	daemon := l.AsUser("alice", "ssh-agent", "-D", "-a", home)
	var said bytes.Buffer
	daemon.Stdout = &said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	eventually(t, patience, func() (bool, string) { return l.Try("test", "-S", home).Status == 0, said.String() })
	if r := finish(sshd.SSH("alice", "-o", "SetEnv=SSH_AUTH_SOCK="+home, says+"; ssh-add -l")); r.Out != home+"\nThe agent has no identities.\n" {
		t.Errorf("in the home: %+v", r)
	}
}
