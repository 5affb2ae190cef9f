// SPDX-License-Identifier: Apache-2.0

package life

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/test/labs"
)

// holdings is how much of each kind there is.
type holdings map[string]int

// count counts what rounds of life could leave: in the engine, in berth's directories, in sshd.
func (l life) count(t *testing.T, e *labs.Engine) holdings {
	t.Helper()
	lines := func(text string) int { return strings.Count(strings.TrimSpace(text)+"\n", "\n") }
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", e.PID()))
	if err != nil {
		t.Fatal(err)
	}
	sshd := strings.TrimSpace(l.Exec(t, "cat", l.Path("sshd.pid")))
	return holdings{
		"containers":                lines(l.engine(t, "ps", "-aq")),
		"networks":                  lines(l.engine(t, "network", "ls", "-q")),
		"volumes":                   lines(l.engine(t, "volume", "ls", "-q")),
		"mounts of the engine":      strings.Count(string(mounts), "\n"),
		"mounts of the lab":         lines(l.Exec(t, "cat", "/proc/self/mountinfo")),
		"files":                     lines(l.Exec(t, "find", "/var/lib/berth")),
		"descriptors of the engine": descriptors(t, strconv.Itoa(e.PID())),
		"descriptors of sshd":       descriptors(t, sshd),
		"directories of the engine": lines(l.Exec(t, "find", filepath.Dir(e.Socket), "-mindepth", "1", "-maxdepth", "4", "-type", "d")),
		"processes of the lab":      l.processes(),
	}
}

func descriptors(t *testing.T, pid string) int {
	t.Helper()
	all, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// processes counts the host's that have the lab's mounts.
func (l life) processes() (n int) {
	all, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, path := range all {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "upperdir="+l.Dir+"/") {
			n++
		}
	}
	return n
}

// Login, end, removal, login, gc: nothing grows. BERTH_LIFE_ROUNDS is how often (20).
func TestNothingLeaks(t *testing.T) {
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("BERTH_LIFE_ROUNDS")); err == nil {
		rounds = n
	}
	e := labs.NewEngine(t, "{}")
	l := begin(t, e.Socket, "", "idle = \"1s\"\n")
	name := l.container(t, "alice")
	round := func(n int) {
		t.Helper()
		l.works(t, "alice")
		switch n % 4 {
		case 0, 1:
			l.awaitState(t, name, "exited 0 0")
		case 2:
			l.engine(t, "kill", name)
		case 3:
			l.remove(t, name)
		}
		l.works(t, "alice")
		l.awaitState(t, name, "exited 0 0")
		if out := l.Exec(t, "berth", "gc"); out != "container "+name+": it has ended\n" {
			t.Fatalf("gc: %q", out)
		}
	}
	// What is made once, and pools of descriptors, are there after a few.
	for n := range 4 {
		round(n)
	}
	before := l.count(t, e)
	for n := range rounds {
		round(n)
	}
	var after holdings
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		after = l.count(t, e)
		for what := range after {
			if spare := before[what] + allowance(what); after[what] > spare {
				return false, fmt.Sprintf("before %v, after %d rounds %v", before, rounds, after)
			}
		}
		return true, ""
	})
	t.Logf("before %v\nafter %d rounds %v", before, rounds, after)
	// The measure measures.
	session := l.converse(t, "alice")
	during := l.count(t, e)
	for _, what := range []string{"containers", "mounts of the engine", "descriptors of the engine", "processes of the lab", "directories of the engine", "files"} {
		if during[what] <= after[what] {
			t.Errorf("%s: %d with a container, %d without", what, during[what], after[what])
		}
	}
	_ = session.in.Close()
}

// allowance is by how much what is pooled may differ between two looks.
func allowance(what string) int {
	if what == "descriptors of the engine" {
		return 4
	}
	return 0
}
