// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Screen is a client in a terminal, and a person before it who waits for what
// she wants to see before she types on.
type Screen struct {
	t      *testing.T
	cmd    *exec.Cmd
	tty    *os.File
	mu     sync.Mutex
	shown  []byte        // everything so far
	read   int           // how much of it expect has used up
	more   chan struct{} // told after each piece
	exited chan struct{} // the client is gone and all it said is shown
}

// Rows and cols of the terminals; chosen so that nobody's default passes.
const (
	rows = 37
	cols = 101
)

// open runs cmd in a new terminal.
func open(t *testing.T, cmd *exec.Cmd) *Screen {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LANG=C.UTF-8")
	}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		t.Fatal(err)
	}
	s := &Screen{t: t, cmd: cmd, tty: tty, more: make(chan struct{}, 1), exited: make(chan struct{})}
	go s.watch()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.exited
	})
	return s
}

func (s *Screen) watch() {
	defer close(s.exited)
	buf := make([]byte, 32<<10)
	for {
		n, err := s.tty.Read(buf)
		s.mu.Lock()
		s.shown = append(s.shown, buf[:n]...)
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
		if err != nil { // EIO: nobody has the terminal open any more
			_ = s.cmd.Wait()
			s.tty.Close()
			return
		}
	}
}

// send types text; \r is the return key.
func (s *Screen) send(text string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(text); err != nil {
		s.t.Fatalf("type %q: %v\n%s", text, err, s.dump())
	}
}

// expect waits for a match of pattern behind what was expected before, and
// returns it with its groups.
func (s *Screen) expect(pattern string) []string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	end := time.After(patience)
	for {
		s.mu.Lock()
		rest := s.shown[s.read:]
		at := re.FindSubmatchIndex(rest)
		var groups []string
		if at != nil {
			for i := 0; i < len(at); i += 2 {
				groups = append(groups, string(rest[max(at[i], 0):max(at[i+1], 0)]))
			}
			s.read += at[1]
		}
		s.mu.Unlock()
		if at != nil {
			return groups
		}
		select {
		case <-s.more:
		case <-s.exited:
			select {
			case <-s.more: // the last words
				continue
			default:
			}
			s.t.Fatalf("the client ended without showing %q:\n%s", pattern, s.dump())
		case <-end:
			s.t.Fatalf("never shown: %q:\n%s", pattern, s.dump())
		}
	}
}

// ask has the shell run command and returns its one line of output.
func (s *Screen) ask(command string) string {
	s.t.Helper()
	// The marks are put together by the shell: what is typed holds them not.
	s.send(fmt.Sprintf("printf '<%%s:' ask; %s; printf ':%%s>' ask\r", command))
	return strings.TrimSpace(s.expect(`(?s)<ask:(.*?):ask>`)[1])
}

// end waits for the client's end and returns its exit status.
func (s *Screen) end() int {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Fatalf("the client does not end:\n%s", s.dump())
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *Screen) dump() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tail(string(s.shown), 4000)
}

// shell opens an interactive login of host and waits for its prompt.
func (l *Lab) shell(t *testing.T, host string) *Screen {
	t.Helper()
	s := open(t, l.SSH(host))
	s.expect(`[$%#] `)
	return s
}

func resize(t *testing.T, s *Screen, rows, cols uint16) {
	t.Helper()
	if err := pty.Setsize(s.tty, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		t.Fatal(err)
	}
}
