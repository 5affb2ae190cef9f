// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// asUser runs berth-session itself on the lab's host as alice, with any
// environment and arguments: what no confined user can do, and every admin can.
func (l *Lab) asUser(user string, env []string, argv ...string) *exec.Cmd {
	return l.AsUser(user, append(append([]string{"env", "-i"}, env...), argv...)...)
}

const berthSession = "/usr/libexec/berth/berth-session"

// Whatever the command is, it reaches the user's shell inside as it was, and
// only there.
func TestForgedCommand(t *testing.T) {
	long := "echo " + strings.Repeat("x", 120<<10) + " | wc -c"
	if r := finish(lab.SSH("alice", long)); r.Out != fmt.Sprintln(120<<10+1) {
		t.Errorf("120 KiB: status %d, %q %q", r.Status, tail(r.Out, 200), tail(r.Err, 200))
	}
	// Longer than execve(2) takes: sshd cannot run us, and nothing else runs.
	if r := finish(lab.SSH("alice", "echo "+strings.Repeat("x", 128<<10))); r.Status == 0 || strings.Contains(r.Out, "xx") {
		t.Errorf("128 KiB: %d", r.Status)
	}
	var binary strings.Builder
	for b := 1; b < 256; b++ {
		if b != '\'' {
			binary.WriteByte(byte(b))
		}
	}
	cmd := lab.asUser("alice", []string{"SSH_ORIGINAL_COMMAND=printf %s '" + binary.String() + "' | od -An -tx1 -v | tr -d ' \\n'"}, berthSession)
	var want strings.Builder
	for _, b := range []byte(binary.String()) {
		fmt.Fprintf(&want, "%02x", b)
	}
	if r := finish(cmd); r.Out != want.String() {
		t.Errorf("binary: %+v", r)
	}
	inside := lab.run(t, "alice", "cat /proc/sys/kernel/hostname")
	for _, command := range []string{
		"$(cat /proc/sys/kernel/hostname >&2); `cat /proc/sys/kernel/hostname >&2`; hostname",
		"\n\ncat /proc/sys/kernel/hostname\n", "'; \"; cat /proc/sys/kernel/hostname", "-c cat",
	} {
		r := finish(lab.SSH("alice", command))
		host, _ := os.Hostname()
		if strings.Contains(r.Out+r.Err, host+"\n") && host+"\n" != inside {
			t.Errorf("%q ran on the host: %+v", command, r)
		}
	}
}

// The caller's environment changes nothing: not what runs, where, or as whom.
func TestForgedEnvironment(t *testing.T) {
	const show = "id -un; pwd; echo $HOME; echo $PATH; echo ${TERM-none}; echo ${LANG-none}; env | grep -cE '^(LD_|GO|DOCKER_|BASH_ENV|ENV=)'; cat /proc/sys/kernel/hostname"
	clean := finish(lab.asUser("alice", []string{"SSH_ORIGINAL_COMMAND=" + show}, berthSession))
	if !strings.HasPrefix(clean.Out, "alice\n/home/alice\n") {
		t.Fatalf("clean: %+v", clean)
	}
	for _, env := range []string{
		"TERM=../../x", "LANG=C\x1b[31m\x07", "HOME=/root", "PATH=/tmp/evil", "LD_PRELOAD=/home/alice/evil.so", "DOCKER_HOST=tcp://127.0.0.1:1",
		"GODEBUG=gctrace=1,inittrace=1", "GOMEMLIMIT=bogus", "GOGC=off", "GOMAXPROCS=0", "GOTRACEBACK=crash", "BASH_ENV=/home/alice/rc", "ENV=/home/alice/rc",
		"USER=root", "LOGNAME=root", "SHELL=/bin/evil", "BERTH_CONFIG=/tmp/x", "XDG_RUNTIME_DIR=/tmp", "SSL_CERT_FILE=/tmp/x",
		"DOCKER_API_VERSION=9.99", "DOCKER_CERT_PATH=/tmp", "HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1", "LD_LIBRARY_PATH=/tmp", "LD_AUDIT=/tmp/x.so",
		"TMPDIR=/nonexistent", "MALLOC_TRACE=/home/alice/trace", "LOCPATH=/tmp", "IFS=x",
	} {
		got := finish(lab.asUser("alice", []string{env, "SSH_ORIGINAL_COMMAND=" + show}, berthSession))
		if got.Out != clean.Out || got.Status != 0 || got.Err != "" {
			t.Errorf("%s:\n%+v\nclean:\n%+v", env, got, clean)
		}
	}
}

// The home's own files run on the host for nobody.
func TestNoHostCode(t *testing.T) {
	l := newLab(t, "")
	for _, host := range []string{"alice", "erin"} {
		l.run(t, host, "true") // the home is there
		home := l.Path("home/" + host)
		trap := "touch /tmp/escaped-" + host + " 2>/dev/null; test -d " + l.Dir + " && touch " + home + "/ESCAPED\n"
		for _, file := range []string{".bashrc", ".profile", ".bash_profile", ".zshenv", ".zshrc", ".ssh/rc", ".cshrc", ".kshrc", "rc"} {
			write(t, home+"/"+file, trap)
		}
		write(t, home+"/.pam_environment", "BASH_ENV DEFAULT=@{HOME}/rc\nENV DEFAULT=@{HOME}/rc\nLD_PRELOAD DEFAULT=@{HOME}/x.so\nZDOTDIR DEFAULT=@{HOME}\n")
		write(t, home+"/.ssh/environment", "BASH_ENV="+home+"/rc\n")
		if out := l.run(t, host, "echo in; test -e /.dockerenv && echo container"); !strings.Contains(out, "container") {
			t.Errorf("%s: %q", host, out)
		}
		s := l.shell(t, host)
		s.send("exit\r")
		s.end()
		if _, err := os.Lstat(home + "/ESCAPED"); err == nil {
			t.Errorf("%s: a file of the home ran on the host", host)
		}
	}
}

// Nothing of the host is in reach by way of ssh itself.
func TestNoForwarding(t *testing.T) {
	r := finish(lab.SSH("alice", "-v", "-o", "ExitOnForwardFailure=yes", "-W", "127.0.0.1:1"))
	if r.Status == 0 || !strings.Contains(r.Err, "administratively prohibited") {
		t.Errorf("-W: %+v", r)
	}
	r = finish(lab.SSH("alice", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:1", "true"))
	if r.Status == 0 {
		t.Errorf("-R was allowed: %+v", r)
	}
	if out := lab.run(t, "alice", "ls /run/docker.sock /var/run/docker.sock /run/berth/lifeline 2>&1; true"); strings.Count(out, "No such file")+strings.Count(out, "ermission denied") != 3 {
		t.Errorf("in reach: %s", out)
	}
	r = finish(lab.SSH("alice", "-A", "-v", "echo \"${SSH_AUTH_SOCK-none}\""))
	if r.Out != "none\n" {
		t.Errorf("agent: %+v", r)
	}
}
