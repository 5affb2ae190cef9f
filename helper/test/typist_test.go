// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/test/labs"

	"github.com/creack/pty"
)

// noticeTimeout is how long a key may take that somebody notices: the lab's two
// processors are full of the attack.
const noticeTimeout = 30 * time.Second

// typist is a user who types into one shell all the while.
type typist struct {
	lab    *labs.Lab
	cmd    *exec.Cmd
	tty    *os.File
	pieces chan string // what the screen shows, closed with its end
	shown  string
	stop   chan struct{}
	done   chan error
	typed  int
	worst  time.Duration
}

// startTyping logs user in, and has them type until finish is called.
func startTyping(t *testing.T, l *labs.Lab, user string) *typist {
	t.Helper()
	p := &typist{lab: l, cmd: l.SSH(user, "-tt"), pieces: make(chan string, 1024), stop: make(chan struct{}), done: make(chan error, 1)}
	var err error
	if p.tty, err = pty.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.tty.Close()
	})
	go func() {
		defer close(p.pieces)
		for buf := make([]byte, 4096); ; {
			n, err := p.tty.Read(buf)
			if err != nil {
				return
			}
			p.pieces <- string(buf[:n])
		}
	}()
	if err := p.ask("pid $$", "<pid "); err != nil {
		t.Fatal(err)
	}
	go p.work()
	return p
}

// ask has the shell say something, without a process of its own, and waits to see
// it.
func (p *typist) ask(say, want string) error {
	// The mark is put together by the shell: what is echoed holds it not.
	if _, err := fmt.Fprintf(p.tty, "printf '<%%s>\\n' \"%s\"\r", say); err != nil {
		return err
	}
	for end := time.After(noticeTimeout); !strings.Contains(p.shown, want); {
		select {
		case piece, more := <-p.pieces:
			if !more {
				return fmt.Errorf("the session has ended: %q", tail(p.shown))
			}
			p.shown += piece
		case <-end:
			return fmt.Errorf("not shown within %v: %q, but %q", noticeTimeout, want, tail(p.shown))
		}
	}
	return nil
}

func tail(s string) string { return s[max(0, len(s)-500):] }

func (p *typist) work() {
	for {
		p.typed++
		p.shown = ""
		start := time.Now()
		if err := p.ask(fmt.Sprintf("word %d", p.typed), fmt.Sprintf("<word %d>", p.typed)); err != nil {
			p.done <- err
			return
		}
		p.worst = max(p.worst, time.Since(start))
		select {
		case <-p.stop:
			p.done <- nil
			return
		default:
		}
	}
}

// finish ends the typing, and fails the test if the user has noticed anything.
func (p *typist) finish(t *testing.T) {
	t.Helper()
	close(p.stop)
	if err := <-p.done; err != nil {
		log, _ := exec.Command("docker", "logs", "--tail", "20", p.lab.Container(t)).CombinedOutput()
		t.Errorf("another user's session: after %d words: %v\n%s", p.typed, err, log)
	}
	t.Logf("another user typed %d words meanwhile, the slowest took %v", p.typed, p.worst.Round(time.Millisecond))
}
