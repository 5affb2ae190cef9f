// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"berth/helper/internal/link/lifelinetest"
	"berth/helper/internal/link/terminal"

	"golang.org/x/sys/unix"
)

// ends are the two of a pty, raw.
type ends struct{ master, tty *os.File }

func openPTY(t *testing.T) ends {
	t.Helper()
	master, tty, _, err := terminal.OpenPTY()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); tty.Close() })
	if _, err := terminal.Raw(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	return ends{master, tty}
}

func setSize(t *testing.T, f *os.File, size terminal.Size) {
	t.Helper()
	if err := terminal.SetSize(int(f.Fd()), size); err != nil {
		t.Error(err)
	}
}

func getSize(t *testing.T, f *os.File) terminal.Size {
	t.Helper()
	size, err := terminal.GetSize(int(f.Fd()))
	if err != nil {
		t.Error(err)
	}
	return size
}

// relayed is a relay between a terminal whose master the test has, as sshd would,
// and one of which it has the other end, as the program would.
func relayed(t *testing.T, size terminal.Size) (sshd, program *os.File) {
	t.Helper()
	outer, inner := openPTY(t), openPTY(t)
	setSize(t, outer.master, size)
	setSize(t, inner.tty, size)
	fd, err := unix.FcntlInt(inner.master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	line, done := lifelinetest.SilentPeer(t), make(chan error, 1)
	go func() {
		_, err := relayTTY(line, outer.tty, outer.tty, os.NewFile(uintptr(fd), "pty"), size)
		done <- err
	}()
	t.Cleanup(func() {
		outer.master.Close() // the hangup
		select {
		case err := <-done:
			if !errors.Is(err, ErrHungUp) {
				t.Errorf("the relay ended with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the relay did not end with its terminal")
		}
	})
	return outer.master, inner.tty
}

// What is typed behind a change of the window's size is read behind it. No SIGWINCH
// helps here: the terminal is not this process's own.
func TestSizeBeforeInput(t *testing.T) {
	sshd, program := relayed(t, terminal.Size{Row: 24, Col: 80})
	key := make([]byte, 1)
	for round := range 500 {
		want := terminal.Size{Row: uint16(25 + round%100), Col: uint16(100 + round), Xpixel: 3, Ypixel: 4}
		setSize(t, sshd, want)
		if _, err := sshd.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		if _, err := program.Read(key); err != nil {
			t.Fatal(err)
		}
		if got := getSize(t, program); got != want {
			t.Fatalf("round %d: the key was there before its window: %+v, want %+v", round, got, want)
		}
	}
}

// A size that the program has set itself stays until the client changes its own.
func TestProgramsOwnSize(t *testing.T) {
	sshd, program := relayed(t, terminal.Size{Row: 24, Col: 80})
	own, next := terminal.Size{Row: 11, Col: 22}, terminal.Size{Row: 33, Col: 44}
	setSize(t, program, own)
	for _, c := range []struct{ want, outer terminal.Size }{{own, terminal.Size{Row: 24, Col: 80}}, {next, next}} {
		setSize(t, sshd, c.outer)
		if _, err := sshd.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		if _, err := program.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if got := getSize(t, program); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// An older size never comes after a newer one, whoever applies them.
func TestSizesInOrder(t *testing.T) {
	outer, inner := openPTY(t), openPTY(t)
	w := &window{outer: int(outer.tty.Fd()), inner: inner.master}
	const last = 30000
	changed, shown := make(chan struct{}), make(chan struct{})
	var followers sync.WaitGroup
	for range 4 {
		followers.Go(func() {
			for done := false; !done; {
				select {
				case <-changed:
					done = true // once more, then it must be the last
				default:
				}
				w.follow()
			}
		})
	}
	go func() {
		defer close(shown)
		for before := uint16(0); before < last; {
			now := getSize(t, inner.tty).Row
			if now < before {
				t.Errorf("%d rows after %d", now, before)
				return
			}
			before = now
		}
	}()
	for rows := range last {
		setSize(t, outer.master, terminal.Size{Row: uint16(rows + 1), Col: 80})
	}
	close(changed)
	followers.Wait()
	if got := getSize(t, inner.tty).Row; got != last {
		t.Errorf("%d rows in the end, want %d", got, last)
	}
	select {
	case <-shown:
	case <-time.After(10 * time.Second):
		t.Error("the last size was not seen")
	}
}
