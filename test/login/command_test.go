// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func commands(t *testing.T) {
	for _, c := range []struct {
		name, command string
		out, errout   string
		status        int
	}{
		{"status", "exit 42", "", "", 42},
		{"no such command", "no-such-command", "", "not found", 127},
		{"not executable", "/etc/hostname", "", "ermission denied", 126},
		{"streams apart", "echo out; echo err >&2", "out\n", "err\n", 0},
		{"no tty", "tty", "not a tty\n", "", 1},
		{"no TERM", "env | grep -c ^TERM", "0\n", "", 1},
		{"quotes", `echo "a  b" '$HOME' \$x`, "a  b $HOME $x\n", "", 0},
		{"not a login shell", "shopt -q login_shell; echo $?", "1\n", "", 0},
		{"newlines", "echo a\necho b\n", "a\nb\n", "", 0},
		{"no privilege", "grep -E 'NoNewPrivs|CapPrm|CapEff' /proc/self/status | tr -d '\\t\\n'", "CapPrm:0000000000000000CapEff:0000000000000000NoNewPrivs:1", "", 0},
		{"only three files", "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 ", "", 0},
		{"its own session", "test $(ps -o sid= -p $$) = $$; echo $?", "0\n", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := finish(lab.SSH("alice", c.command))
			if r.Status != c.status || r.Out != c.out || !strings.Contains(r.Err, c.errout) {
				t.Errorf("got %+v, want %+v", r, c)
			}
		})
	}
}

// Death by a signal arrives as one: the client says so in its log.
func TestExitSignal(t *testing.T) {
	for _, signal := range []string{"TERM", "KILL", "SEGV"} {
		r := finish(lab.SSH("alice", "-v", "kill -"+signal+" $$"))
		if r.Status != 255 || !strings.Contains(r.Err, "exit-signal") {
			t.Errorf("%s: status %d, %s", signal, r.Status, tail(r.Err, 1500))
		}
	}
}

func TestStandardInput(t *testing.T) {
	null := lab.SSH("alice", "true")
	if r := finish(null); r.Status != 0 { // no Stdin: /dev/null
		t.Errorf("</dev/null: %+v", r)
	}
	if r := finish(lab.SSH("alice", "-n", "cat; echo done")); r.Out != "done\n" {
		t.Errorf("-n: %+v", r)
	}
	cmd := lab.SSH("alice", "wc -c; echo more >&2")
	cmd.Stdin = strings.NewReader("hello")
	if r := finish(cmd); r.Out != "5\n" || r.Err != "more\n" {
		t.Errorf("half-close: %+v", r)
	}
	if r := finish(lab.SSH("alice", "-tt", "tty; exit 5")); !strings.HasPrefix(r.Out, "/dev/pts/") || r.Status != 5 {
		t.Errorf("-tt: %+v", r)
	}
	// A program that reads nothing and ends, while the client has more to say.
	endless, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	cmd = lab.SSH("alice", "exit 3")
	cmd.Stdin = endless
	if r := finish(cmd); r.Status != 3 {
		t.Errorf("unread input: %+v", r)
	}
}

const bulkSize = 64 << 20

func noise(size int) []byte {
	data := make([]byte, size)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(data)
	return data
}

func TestBulkThereAndBack(t *testing.T) {
	data := noise(bulkSize)
	cmd := lab.SSH("alice", "cat")
	cmd.Stdin = bytes.NewReader(data)
	sum := sha256.New()
	cmd.Stdout = sum
	r := finish(cmd)
	if want := sha256.Sum256(data); r.Status != 0 || hex.EncodeToString(sum.Sum(nil)) != hex.EncodeToString(want[:]) {
		t.Errorf("64 MiB came back changed: %+v", r)
	}
}

func fileTransfer(t *testing.T) {
	dir := t.TempDir()
	data := noise(3 << 20)
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	if err := os.WriteFile(there, data, 0o640); err != nil {
		t.Fatal(err)
	}
	config := lab.Path("ssh_config")
	batch := filepath.Join(dir, "batch")
	write(t, batch, fmt.Sprintf("put %s transfer-sftp\nget transfer-sftp %s\nls -l transfer-sftp\nrm transfer-sftp\n", there, back))
	for _, c := range []struct {
		name     string
		commands [][]string
	}{
		{"scp", [][]string{{"scp", "-F", config, there, "alice:transfer"}, {"scp", "-F", config, "alice:transfer", back}}},
		{"scp -O", [][]string{{"scp", "-O", "-F", config, there, "alice:transfer"}, {"scp", "-O", "-F", config, "alice:transfer", back}}},
		{"sftp", [][]string{{"sftp", "-F", config, "-b", batch, "alice"}}},
		{"rsync", [][]string{{"rsync", "-e", "ssh -F " + config, there, "alice:transfer"}, {"rsync", "-e", "ssh -F " + config, "alice:transfer", back}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_ = os.Remove(back)
			for _, argv := range c.commands {
				if r := finish(exec.Command(argv[0], argv[1:]...)); r.Status != 0 {
					t.Fatalf("%q: %+v", argv, r)
				}
			}
			if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, data) {
				t.Errorf("what came back is not what went (%d bytes, %v)", len(got), err)
			}
			lab.run(t, "alice", "rm -f transfer")
		})
	}
}

func gitRepositories(t *testing.T) {
	dir := t.TempDir()
	lab.run(t, "alice", "rm -rf repo.git; git init -q --bare -b main repo.git")
	for _, line := range []string{
		"git init -q -b main . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first",
		"git push -q alice:repo.git main",
		"git clone -q alice:repo.git copy && git -C copy log --oneline | grep first",
	} {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_SSH_COMMAND=ssh -F "+lab.Path("ssh_config"))
		if r := finish(cmd); r.Status != 0 {
			t.Fatalf("%s: %+v", line, r)
		}
	}
}

// Two users, twenty sessions each, all at once: every byte and every status
// reaches its own.
func TestManyAtOnce(t *testing.T) {
	const each = 20
	var all sync.WaitGroup
	for _, host := range []string{"alice", "bob"} {
		for i := range each {
			all.Go(func() {
				mark := fmt.Sprintf("%s-%d", host, i)
				cmd := lab.SSH(host, fmt.Sprintf("printf '%%s:' $(id -un); cat; echo %s >&2; exit %d", mark, i+1))
				cmd.Stdin = strings.NewReader(strings.Repeat(mark+"\n", 5000))
				r := finish(cmd)
				if r.Status != i+1 || r.Out != host+":"+strings.Repeat(mark+"\n", 5000) || r.Err != mark+"\n" {
					t.Errorf("%s: status %d, %d bytes, stderr %q", mark, r.Status, len(r.Out), tail(r.Err, 500))
				}
			})
		}
	}
	all.Wait()
}

// Channels of one connection are sessions of their own.
func TestMultiplexed(t *testing.T) {
	control, _ := lab.Master(t, "alice")
	for i := range 5 {
		r := finish(lab.SSH("alice", "-o", "ControlPath="+control, fmt.Sprintf("echo %d; exit %d", i, i)))
		if r.Status != i || r.Out != fmt.Sprintf("%d\n", i) {
			t.Errorf("channel %d: %+v", i, r)
		}
	}
}

// What is no pipe stays on the host: a program inside never holds a file of the
// host's, only what is copied from and to it.
func TestFilesStayOnTheHost(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	write(t, in, strings.Repeat("line\n", 10000))
	script := fmt.Sprintf("exec setpriv --reuid alice --regid alice --init-groups env SSH_ORIGINAL_COMMAND='for f in 0 1 2; do readlink /proc/self/fd/$f; done; wc -c; cat <&0' %s <%s >%s 2>&1", berthSession, in, out)
	lab.Exec(t, "sh", "-c", script)
	text, err := os.ReadFile(out)
	if err != nil || strings.Count(string(text), "pipe:") != 3 || !strings.HasSuffix(string(text), "50000\n") {
		t.Errorf("%q, %v", tail(string(text), 300), err)
	}
}
