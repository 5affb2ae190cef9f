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
	// A file that only the host has. admin, whose commands run there, prints it by
	// the same words: so would alice, if any of them ran outside.
	const secret = "this is the host\n"
	marker := lab.Path("only-on-the-host")
	write(t, marker, secret)
	for _, command := range []string{
		"$(cat M >&2); true", "`cat M >&2`; true", "\n\ncat M\n", "true; cat M", "exec 3<M; cat <&3",
		"'; \"; cat M", "-c 'cat M'", // for a program that puts it into a line of its own, or takes options
	} {
		command = strings.ReplaceAll(command, "M", marker)
		if r := finish(lab.SSH("alice", command)); strings.Contains(r.Out+r.Err, secret) {
			t.Errorf("%q ran on the host: %+v", command, r)
		}
		if strings.HasPrefix(command, "'") || strings.HasPrefix(command, "-") {
			continue // no shell runs it, on the host neither
		}
		if r := finish(lab.SSH("admin", command)); !strings.Contains(r.Out+r.Err, secret) {
			t.Errorf("%q does not even run on the host as the host's own: %+v", command, r)
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
	// These do something to an ordinary program.
	mark := lab.Path("home/alice/LOADED")
	lab.buildPreload(t, lab.Path("home/alice/evil.so"), mark)
	write(t, lab.Path("home/alice/rc"), "touch "+mark+"\n")
	loaded := func(cmd *exec.Cmd) bool {
		_ = os.Remove(mark)
		finish(cmd)
		_, err := os.Lstat(mark)
		return err == nil
	}
	for _, env := range []string{"LD_PRELOAD=/home/alice/evil.so", "LD_AUDIT=/home/alice/evil.so", "BASH_ENV=/home/alice/rc"} {
		if !loaded(lab.asUser("alice", []string{env}, "bash", "-c", "true")) {
			t.Errorf("%s does nothing to bash: the test shows nothing", env)
		}
		if loaded(lab.asUser("alice", []string{env, "SSH_ORIGINAL_COMMAND=true"}, berthSession)) {
			t.Errorf("%s: the user's code ran on the host", env)
		}
	}
	const debug = "GODEBUG=gctrace=1,inittrace=1"
	if r := finish(lab.asUser("alice", []string{debug}, "/usr/sbin/berth", "--help")); !strings.Contains(r.Err, "init ") {
		t.Errorf("%s does nothing to a program in Go: %+v", debug, r)
	}
	for _, env := range []string{
		"TERM=../../x", "LANG=C\x1b[31m\x07", "HOME=/root", "PATH=/tmp/evil", "LD_PRELOAD=/home/alice/evil.so", "DOCKER_HOST=tcp://127.0.0.1:1",
		debug, "GOMEMLIMIT=bogus", "GOGC=off", "GOMAXPROCS=0", "GOTRACEBACK=crash", "BASH_ENV=/home/alice/rc", "ENV=/home/alice/rc",
		"USER=root", "LOGNAME=root", "SHELL=/bin/evil", "BERTH_CONFIG=/tmp/x", "XDG_RUNTIME_DIR=/tmp", "SSL_CERT_FILE=/tmp/x",
		"DOCKER_API_VERSION=9.99", "DOCKER_CERT_PATH=/tmp", "HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1", "LD_LIBRARY_PATH=/tmp", "LD_AUDIT=/home/alice/evil.so",
		"TMPDIR=/nonexistent", "MALLOC_TRACE=/home/alice/trace", "LOCPATH=/tmp", "IFS=x",
	} {
		got := finish(lab.asUser("alice", []string{env, "SSH_ORIGINAL_COMMAND=" + show}, berthSession))
		if got.Out != clean.Out || got.Status != 0 || got.Err != "" {
			t.Errorf("%s:\n%+v\nclean:\n%+v", env, got, clean)
		}
	}
}
