// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"berth/helper/internal/link/drain"
	"berth/helper/internal/link/paths"
	"berth/test/labs"
)

// While the file is there nobody gets a session, by either transport, and users read what it
// says. Those who have one keep it.
func TestDrain(t *testing.T) {
	l := labs.New(t, autoTransport)
	logInOnce(t, l, "alice", "bob")
	bob := startTyping(t, l, "bob")
	file := l.Path("serve/" + paths.Drain)
	expect := func(when, words string) {
		t.Helper()
		for _, program := range programs {
			r := labs.Finish(l.AsUser("alice", program, "-c", "echo in"))
			if words == "" {
				if r.Out != "in\n" || r.Err != "" {
					t.Errorf("%s, %s: %+v", when, program, r)
				}
			} else if r.Status != 255 || r.Out != "" || !strings.HasPrefix(r.Err, "berth: "+words+" (id ") || strings.Count(r.Err, "\n") != 1 {
				t.Errorf("%s, %s: %+v", when, program, r)
			}
		}
	}
	expect("before", "")
	for _, c := range []struct{ text, words string }{{"Reboot at noon\nnothing else\n", "Reboot at noon"}, {"", drain.DefaultWords}, {"a\x1b[2Jb", "a[2Jb"}} {
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		expect(fmt.Sprintf("%q", c.text), c.words)
	}
	if r := labs.Finish(l.SSH("alice", "echo in")); r.Status != 255 || r.Out != "" || !strings.Contains(r.Err, "a[2Jb") {
		t.Errorf("by ssh: %+v", r)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		refused := 0
		for _, line := range l.Record() {
			if line.Event == "refused" && strings.Contains(line.Fields["reason"], "berth drain") {
				refused++
			}
		}
		return refused == 7, fmt.Sprintf("%d sessions are recorded as refused, want 7", refused)
	})
	// A file that others may write is obeyed, and its words are not shown.
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	expect("a file that all may write", drain.DefaultWords)
	bob.finish(t)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect("afterwards", "")
}

// The keeper counts a user's sessions, by whichever transport they came, and whatever becomes
// of its servers.
func TestLimitHoldsAcrossServers(t *testing.T) {
	l := labs.New(t, autoTransport+"[session]\nlimit = 2\n")
	logInOnce(t, l, "alice")
	for _, program := range programs {
		_, out := labs.StartWithPipes(t, l.AsUser("alice", program, "-c", "echo up; read x"))
		if line, err := out.ReadString('\n'); line != "up\n" {
			t.Fatalf("%s: %q, %v", program, line, err)
		}
	}
	full := func(when string) {
		t.Helper()
		for _, program := range programs {
			r := labs.Finish(l.AsUser("alice", program, "-c", "echo in"))
			if r.Status != 255 || r.Out != "" || !strings.Contains(r.Err, "you have 2 sessions, which is the limit") {
				t.Errorf("%s, %s: %+v", when, program, r)
			}
		}
	}
	full("at first")
	_, server := serving(t, l)
	if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	full("the server killed")
	l.Exec(t, "berth", "up")
	full("after berth up")
	setRules(t, l, "spares=0")
	full("on demand")
	// One ends, and one gets in.
	s := awaitSession(t, l, "alice")
	if err := keeper(l).End(s.PID, ""); err != nil {
		t.Fatal(err)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		r := labs.Finish(l.AsUser("alice", programs[0], "-c", "echo in"))
		return r.Out == "in\n", fmt.Sprintf("%+v", r)
	})
}
