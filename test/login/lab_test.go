// SPDX-License-Identifier: Apache-2.0

// Package e2e logs in as users do: real ssh clients, a real sshd with its PAM
// stack, a real engine and container, in a lab of scripts/lab.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

// execTransport is whether the labs go the way of transport exec: this whole suite is run
// once for each, and for auto, which is direct while the container serves
// (scripts/test), by way of the environment of scripts/lab.
var execTransport = slices.Contains([]string{"exec", "docker"}, os.Getenv("BERTH_LAB_TRANSPORT"))

// userMode is whether each user of the labs has a container of their own: the suite is run
// once more for that. What is about the shared container alone is left out there (scripts/test).
var userMode = os.Getenv("BERTH_LAB_MODE") == "user"

// transports are those that a container can be reached by.
func transports() []string {
	if userMode {
		return []string{"direct"}
	}
	return []string{"direct", "exec"}
}

const patience = labs.Patience

// lab is the one that all tests share; those that break something raise their
// own.
var lab *Lab

// Lab is a raised lab.
type Lab struct{ *labs.Lab }

// Result is what a finished command left.
type Result = labs.Result

func finish(cmd *exec.Cmd) Result { return labs.Finish(cmd) }

func eventually(t *testing.T, within time.Duration, ok func() (bool, string)) {
	t.Helper()
	labs.Eventually(t, within, ok)
}

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	l, err := labs.Raise()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lab = &Lab{l}
	// So that PAM has her record: some tests run berth-session without a login.
	if r := finish(lab.SSH("alice", "true")); r.Status != 0 {
		fmt.Fprintf(os.Stderr, "alice cannot log in: %+v\n", r)
		return lab.Close(1)
	}
	return lab.Close(m.Run())
}

// newLab raises a lab for one test, with config laid over berth.toml.
func newLab(t *testing.T, config string) *Lab {
	t.Helper()
	return &Lab{labs.New(t, config)}
}

// docker runs the engine's own client, which must succeed.
func docker(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
		t.Fatalf("docker %q: %v: %s", args, err, out)
	}
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

// awaitLog waits until the lab's log has a line with all of words.
func (l *Lab) awaitLog(t *testing.T, words ...string) string {
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
