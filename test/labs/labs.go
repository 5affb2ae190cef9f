// SPDX-License-Identifier: Apache-2.0

// Package labs drives scripts/lab for tests: it raises throw-away hosts, runs
// commands in them, and waits for what must happen.
package labs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Patience bounds every wait for something that must happen.
const Patience = 60 * time.Second

// Lab is a raised lab.
type Lab struct{ Dir string }

func script() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "scripts", "lab")
}

// Raise raises a lab that is stale when this process has ended.
func Raise(args ...string) (*Lab, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(script(), append([]string{"up", "--owner", fmt.Sprint(os.Getpid())}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("lab up: %w: %s", err, stderr.String())
	}
	lines := strings.Fields(string(out))
	return &Lab{Dir: lines[len(lines)-1]}, nil
}

// New raises a lab for one test, with config laid over berth.toml.
func New(t testing.TB, config string) *Lab {
	t.Helper()
	var args []string
	if config != "" {
		file := filepath.Join(t.TempDir(), "berth.toml")
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		args = []string{"--config", file}
	}
	l, err := Raise(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, wrong := range l.CheckRecord() {
			t.Error("the record of sessions: ", wrong)
		}
		l.Down()
	})
	return l
}

// Down clears the lab.
func (l *Lab) Down() {
	if out, err := exec.Command(script(), "down", "--lab", l.Dir).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "lab down: %v: %s\n", err, out)
	}
}

// Script is scripts/lab.
func (l *Lab) Script() string { return script() }

// Path is a file of the lab's.
func (l *Lab) Path(name string) string { return filepath.Join(l.Dir, name) }

// SSH is the ssh client for host, with args behind it.
func (l *Lab) SSH(host string, args ...string) *exec.Cmd {
	return exec.Command("ssh", append([]string{"-F", l.Path("ssh_config"), host}, args...)...)
}

// Exec runs a command as root inside the lab's namespace and returns what it
// prints.
func (l *Lab) Exec(t testing.TB, argv ...string) string {
	t.Helper()
	r := l.Try(argv...)
	if r.Status != 0 {
		t.Fatalf("lab exec %q: %+v", argv, r)
	}
	return r.Out
}

// Try is Exec for commands that may fail.
func (l *Lab) Try(argv ...string) Result {
	return Finish(l.Command(argv...))
}

// Command is a command as root inside the lab's namespace.
func (l *Lab) Command(argv ...string) *exec.Cmd {
	return exec.Command(script(), append([]string{"exec", "--lab", l.Dir, "--"}, argv...)...)
}

// AsUser is a command on the lab's host as one of its users, without sshd.
func (l *Lab) AsUser(user string, argv ...string) *exec.Cmd {
	return l.Command(append([]string{"setpriv", "--reuid", user, "--regid", user, "--init-groups"}, argv...)...)
}

// Container is the name of the lab's container.
func (l *Lab) Container(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(l.Path("container"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// UID is the uid of one of the lab's users, as the lab's files have it.
func (l *Lab) UID(t testing.TB, user string) string {
	t.Helper()
	text, err := os.ReadFile(l.Path("uids"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if uid, ok := strings.CutPrefix(strings.TrimSpace(line), user+" "); ok {
			return uid
		}
	}
	t.Fatalf("no user %s in %s", user, text)
	return ""
}

// Result is what a finished command left.
type Result struct {
	Out, Err string
	Status   int // -1: died of a signal, or was not done in time
}

// Finish runs cmd, with patience.
func Finish(cmd *exec.Cmd) Result { return FinishIn(cmd, Patience) }

// FinishIn runs cmd, and kills it when it is not done within bound.
func FinishIn(cmd *exec.Cmd, bound time.Duration) Result {
	var out, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return Result{Err: err.Error(), Status: -1}
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	r := Result{Out: out.String(), Err: stderr.String(), Status: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		r.Err += "\n(not done in time)"
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.Err += err.Error()
	}
	return r
}

// StartWithPipes starts cmd, and returns its input and output. It is killed when the test
// ends.
func StartWithPipes(t testing.TB, cmd *exec.Cmd) (io.WriteCloser, *bufio.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return in, bufio.NewReader(out)
}

// Eventually waits until ok, and fails the test with what says when it does
// not come true.
func Eventually(t testing.TB, within time.Duration, ok func() (bool, string)) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for {
		done, state := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %v: %s", within, state)
		}
	}
}
