// SPDX-License-Identifier: Apache-2.0

// Package e2e logs in as users do: real ssh clients, a real sshd with its PAM
// stack, a real engine and container, in a lab of scripts/lab.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// lab is the one that all tests share; those that break something raise their
// own.
var lab *Lab

// Lab is a raised lab.
type Lab struct{ Dir string }

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	var err error
	if lab, err = raise(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer lab.Down()
	return m.Run()
}

func labScript() string { return filepath.Join("..", "..", "scripts", "lab") }

func raise(args ...string) (*Lab, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(labScript(), append([]string{"up", "--owner", fmt.Sprint(os.Getpid())}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("lab up: %w: %s", err, stderr.String())
	}
	lines := strings.Fields(string(out))
	return &Lab{Dir: lines[len(lines)-1]}, nil
}

// newLab raises a lab for one test, with config laid over berth.toml.
func newLab(t *testing.T, config string) *Lab {
	t.Helper()
	var args []string
	if config != "" {
		file := filepath.Join(t.TempDir(), "berth.toml")
		write(t, file, config)
		args = []string{"--config", file}
	}
	l, err := raise(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Down)
	return l
}

// Down clears the lab.
func (l *Lab) Down() {
	if out, err := exec.Command(labScript(), "down", "--lab", l.Dir).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "lab down: %v: %s\n", err, out)
	}
}

// Path is a file of the lab's.
func (l *Lab) Path(name string) string { return filepath.Join(l.Dir, name) }

// SSH is the ssh client for host, with args behind it.
func (l *Lab) SSH(host string, args ...string) *exec.Cmd {
	return exec.Command("ssh", append([]string{"-F", l.Path("ssh_config"), host}, args...)...)
}

// Exec runs a command as root inside the lab's namespace and returns what it
// prints.
func (l *Lab) Exec(t *testing.T, argv ...string) string {
	t.Helper()
	r := l.Try(argv...)
	if r.Status != 0 {
		t.Fatalf("lab exec %q: %+v", argv, r)
	}
	return r.Out
}

// Try is Exec for commands that may fail.
func (l *Lab) Try(argv ...string) Result {
	return finish(exec.Command(labScript(), append([]string{"exec", "--lab", l.Dir, "--"}, argv...)...))
}

// Inside runs a command as root in the lab's container and returns what it
// prints. Nothing of berth is involved.
func (l *Lab) Inside(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"exec", l.Container(t)}, argv...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker exec %q: %v: %s", argv, err, out)
	}
	return string(out)
}

// Container is the name of the lab's container.
func (l *Lab) Container(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(l.Path("container"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// Result is what a finished command left.
type Result struct {
	Out, Err string
	Status   int // -1: died of a signal, or was not done in time
}

// finish runs cmd, with patience.
func finish(cmd *exec.Cmd) Result {
	var out, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return Result{Err: err.Error(), Status: -1}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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

// run is a command on host without a terminal, expected to end with status 0.
func (l *Lab) run(t *testing.T, host, command string) string {
	t.Helper()
	r := finish(l.SSH(host, command))
	if r.Status != 0 {
		t.Fatalf("ssh %s %q: %+v", host, command, r)
	}
	return r.Out
}

// eventually waits until ok, and fails the test with what says when it does
// not come true.
func eventually(t *testing.T, within time.Duration, ok func() (bool, string)) {
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

// logged waits until the lab's log has a line with all of words.
func (l *Lab) logged(t *testing.T, words ...string) string {
	t.Helper()
	var found string
	eventually(t, 10*time.Second, func() (bool, string) {
		text, _ := os.ReadFile(l.Path("log"))
	lines:
		for _, line := range strings.Split(string(text), "\n") {
			for _, word := range words {
				if !strings.Contains(line, word) {
					continue lines
				}
			}
			found = line
			return true, ""
		}
		return false, fmt.Sprintf("no line with %q in:\n%s", words, tail(string(text), 4000))
	})
	return found
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
