// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// monitor is what a PAM module costs sshd's privileged process while a session
// is open: that process opened it, and stays to close it. What loading relocated
// is shared with the child that sshd forks for the user: it is in PSS, half.
type monitor struct{ pss, dirty, threads int } // kB, kB, number

// openSession logs in by ssh to a real sshd, of its own mount namespace, whose
// session stack is line, and returns what can be seen of its monitor, and an end.
func openSession(b *testing.B, line string) (look func() monitor, end func()) {
	b.Helper()
	l := logIn(b, "", line)
	return func() monitor {
		proc := "/proc/" + l.monitor(b)
		return monitor{number(b, proc+"/smaps_rollup", "Pss:"), number(b, proc+"/smaps_rollup", "Private_Dirty:"), number(b, proc+"/status", "Threads:")}
	}, l.end
}

// login is a session by ssh that is open.
type login struct {
	dir    string
	client *exec.Cmd
	end    func() // of the client's input, and all that follows

	complaints strings.Builder
}

// logIn opens a session of nina's. more is a shell line for the namespace, in which $S is the
// login's directory. sshd serves ssh's own pipe (-i), so there is no port to agree on.
func logIn(b testing.TB, more, line string) *login {
	b.Helper()
	l, said := startLogin(b, more, line)
	if said != "in\n" {
		l.end()
		b.Fatalf("%q: no session: %q\n%s", line, said, l.complaints.String())
	}
	return l
}

// startLogin is logIn where there may be no session: said is "in" where there is one.
func startLogin(b testing.TB, more, line string) (l *login, said string) {
	b.Helper()
	dir, err := os.MkdirTemp("", "pam_monitor")
	if err != nil {
		b.Fatal(err)
	}
	script := filepath.Join(dir, "sshd.sh")
	text := fmt.Sprintf(`set -e; S=%[1]s; cd $S; umask 022
mkdir home pam.d log; (grep -v :4711: /etc/passwd; echo 'nina:x:4711:4711::/home/nina:/bin/sh') >passwd
printf '%%s\n' 'auth required pam_deny.so' 'account required pam_permit.so' 'session required pam_permit.so' '%[2]s' >pam.d/sshd
mount --bind passwd /etc/passwd; mount --bind home /home; mount --bind pam.d /etc/pam.d; mount --bind log /var/log
mount -t tmpfs -o mode=755 tmpfs /run; mkdir /run/sshd
printf '%%s\n' "HostKey $S/key" "AuthorizedKeysFile $S/key.pub" 'StrictModes no' 'UsePAM yes' 'PidFile none' 'UseDNS no' >config
echo $$ >pid
cd /
%[3]s
exec /usr/sbin/sshd -i -f $S/config 2>/dev/null
`, dir, line, more)
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.WriteFile(script, []byte(text), 0o700),
		exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir+"/key").Run(), os.Chmod(dir+"/key.pub", 0o644),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.Command("ssh", "-F", "none", "-i", dir+"/key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
		"-o", "LogLevel=ERROR", "-o", "ProxyCommand=unshare --mount --propagation private sh "+script, "nina@monitor", "echo in; cat")
	l = &login{dir: dir, client: cmd}
	cmd.Stderr = &l.complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	slow := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	l.end = func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		slow.Stop()
		os.RemoveAll(dir)
	}
	said, _ = bufio.NewReader(out).ReadString('\n')
	return l, said
}

// monitor is sshd's privileged process.
func (l *login) monitor(b testing.TB) string {
	b.Helper()
	pid, err := os.ReadFile(l.dir + "/pid")
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(string(pid))
}

// number reads the figure behind a word that begins a line of a file of /proc.
func number(b *testing.B, path, word string) int {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == word {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("%s has no %s", path, word)
	return 0
}
