// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/test/labs"

	"github.com/creack/pty"
)

// batchSize is how many sessions are open at once, half of them with a terminal;
// six deaths of four batches are a thousand sessions.
const batchSize, batchCount = 42, 4

// openSession is a session that waits for a line and then ends with status 7. It has
// left a daemon behind that ignores the hangup.
type openSession struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser
}

const lastingCommand = "trap '' HUP TERM; (setsid sleep 3000 </dev/null >/dev/null 2>&1 &); echo up; read x; exit 7"

func open(l *labs.Lab, user string, tty bool) (*openSession, error) {
	s := &openSession{cmd: l.AsUser(user, "env", "-i", "TERM=dumb", "SSH_ORIGINAL_COMMAND="+lastingCommand, "/usr/libexec/berth/berth-session")}
	if tty {
		f, err := pty.Start(s.cmd)
		if err != nil {
			return nil, err
		}
		s.in, s.out = f, f
	} else {
		var err error
		if s.in, err = s.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		if s.out, err = s.cmd.StdoutPipe(); err != nil {
			return nil, err
		}
		if err := s.cmd.Start(); err != nil {
			return nil, err
		}
	}
	line, err := bufio.NewReader(s.out).ReadString('\n')
	if strings.TrimSpace(line) != "up" {
		s.end()
		return nil, fmt.Errorf("%q, %v", line, err)
	}
	return s, nil
}

// end lets go of the client's side, and waits until berth-session has seen that: killed
// while it writes the session's end, it would leave none (berth-log(7)).
func (s *openSession) end() {
	s.in.Close()
	s.out.Close()
	stop := time.AfterFunc(labs.Patience, func() { _ = s.cmd.Process.Kill() })
	defer stop.Stop()
	_ = s.cmd.Wait()
}

// answers has the session end by itself and says whether it did.
func (s *openSession) answers() error {
	if _, err := io.WriteString(s.in, "go\n"); err != nil {
		return err
	}
	err := s.cmd.Wait()
	if status := s.cmd.ProcessState.ExitCode(); status != 7 {
		return fmt.Errorf("status %d: %v", status, err)
	}
	return nil
}

func openBatch(t *testing.T, l *labs.Lab) []*openSession {
	t.Helper()
	sessions := make([]*openSession, batchSize)
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			var err error
			if sessions[i], err = open(l, []string{"alice", "bob"}[i/2%2], i%2 == 0); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return sessions
}

func forEach(sessions []*openSession, do func(*openSession)) {
	var all sync.WaitGroup
	for _, s := range sessions {
		all.Go(func() { do(s) })
	}
	all.Wait()
}

// checkAnswers has the sessions end by themselves.
func checkAnswers(t *testing.T, sessions []*openSession) {
	forEach(sessions, func(s *openSession) {
		if err := s.answers(); err != nil {
			t.Error(err)
		}
	})
}

// supervisors returns those that have a session whose program runs.
func supervisors(t *testing.T, l *labs.Lab) (pids []int) {
	t.Helper()
	for pid, args := range inContainer(l) {
		if strings.Contains(args, "/berth-init watch ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// However a session dies, and whatever of berth does, nothing is left; and what
// is not its own death a session outlives.
func TestThousandSessions(t *testing.T) {
	logInOnce(t, lab, "alice", "bob")
	before := stableState(t, lab)
	kill := func(t *testing.T, pid int) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(t *testing.T, sessions []*openSession) {
		t.Helper()
		checkAnswers(t, sessions)
	}
	for _, death := range []struct {
		name string
		end  func(*testing.T, []*openSession)
	}{
		{"exit", answer},
		{"client gone", func(t *testing.T, all []*openSession) {
			forEach(all, func(s *openSession) { s.in.Close(); s.out.Close(); _ = s.cmd.Wait() })
		}},
		{"helper killed", func(t *testing.T, all []*openSession) { forEach(all, (*openSession).end) }},
		{"supervisor killed", func(t *testing.T, all []*openSession) {
			pids := supervisors(t, lab)
			if len(pids) != batchSize {
				t.Errorf("%d supervisors of %d sessions", len(pids), batchSize)
			}
			for _, pid := range pids {
				kill(t, pid)
			}
			forEach(all, func(s *openSession) { _ = s.cmd.Wait() })
		}},
		{"server killed", func(t *testing.T, all []*openSession) {
			_, server := serving(t, lab)
			kill(t, server)
			// A login now waits for the next server.
			start := time.Now()
			if r := labs.Finish(lab.SSH("alice", "true")); r.Status != 0 || time.Since(start) > 5*time.Second {
				t.Errorf("a login without a server: %+v after %v", r, time.Since(start))
			}
			answer(t, all)
		}},
	} {
		t.Run(death.name, func(t *testing.T) {
			for range batchCount {
				sessions := openBatch(t, lab)
				death.end(t, sessions)
				forEach(sessions, (*openSession).end)
				awaitState(t, lab, before)
			}
		})
	}
}

// With live-restore, neither the open sessions nor the logins need an engine.
func TestEngineKilled(t *testing.T) {
	e := labs.NewEngine(t, `{"live-restore": true}`)
	l := labs.New(t, fmt.Sprintf("[engine]\nsocket = %q\n[container]\nimage = \"berth:busybox\"\n", e.Socket))
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Fatalf("%+v", r)
	}
	logInOnce(t, l, "bob")
	before := stableState(t, l)
	for range batchCount {
		sessions := openBatch(t, l)
		e.Kill()
		if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" || r.Err != "" {
			t.Errorf("a login without an engine: %+v", r)
		}
		checkAnswers(t, sessions)
		forEach(sessions, (*openSession).end)
		awaitState(t, l, before)
		e.Start()
	}
}

// dockerd is stopped for 30 seconds while people work and log in.
func TestEngineStoppedUnderLoad(t *testing.T) {
	e := labs.NewEngine(t, `{"live-restore": true}`)
	l := labs.New(t, fmt.Sprintf("[engine]\nsocket = %q\n[container]\nimage = \"berth:busybox\"\n", e.Socket))
	if out := l.Exec(t, "berth", "status"); !strings.Contains(out, "live-restore true") {
		t.Errorf("status: %s", out)
	}
	sessions := openBatch(t, l)
	e.Stop()
	logins := 0
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); logins++ {
		if r := labs.Finish(l.SSH([]string{"alice", "bob"}[logins%2], "cat; exit 3")); r.Status != 3 || r.Err != "" {
			t.Fatalf("login %d: %+v", logins, r)
		}
	}
	e.Start()
	t.Logf("%d logins while the engine was stopped", logins)
	checkAnswers(t, sessions)
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, "runs") {
		t.Errorf("berth up: %s", out)
	}
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("afterwards: %+v", r)
	}
}
