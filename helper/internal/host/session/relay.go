// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/terminal"

	"golang.org/x/sys/unix"
)

// forwardedSignals are the program's business, not ours.
var forwardedSignals = []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// forwardSignals passes signals on and closes the returned channel when this process
// is hung up.
func forwardSignals(line *lifeline.Conn) <-chan struct{} {
	hungUp := make(chan struct{})
	caught := make(chan os.Signal, 8)
	signal.Notify(caught, append([]os.Signal{unix.SIGHUP}, forwardedSignals...)...)
	go func() {
		for sig := range caught {
			if sig == unix.SIGHUP {
				close(hungUp)
				return
			}
			_ = line.Send(lifeline.Signal, []byte{byte(sig.(unix.Signal))})
		}
	}()
	return hungUp
}

// relayPipes waits while the program itself reads and writes sshd's pipes.
func relayPipes(line *lifeline.Conn, stdio *stdio) (lifeline.Ending, error) {
	hungUp := forwardSignals(line)
	end := awaitEnd(line, nil)
	select {
	case result := <-end:
		stdio.outputs.Wait()
		return result.ending, result.err
	case <-hungUp:
	case <-readerGone(1):
	}
	return lifeline.Ending{}, ErrHungUp
}

// readerGone closes the returned channel when nobody reads fd any more. sshd sends
// no signal when a client without a tty goes away; its end of our output
// closes, and poll(2) shows POLLERR. We keep our copy of the pipe for that.
func readerGone(fd int) <-chan struct{} {
	closed := make(chan struct{})
	go func() {
		for {
			poll := []unix.PollFd{{Fd: int32(fd)}}
			_, err := unix.Poll(poll, -1)
			if err == nil && poll[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
				close(closed)
				return
			}
			if err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return closed
}

// outputTimeout bounds the wait for output that a process with the tty still open
// might yet write, once the program has ended.
const outputTimeout = 200 * time.Millisecond

// relayTTY copies between the session's terminal on the host, raw by now, and the
// master of the pty in the container, which has had size from its beginning.
func relayTTY(line *lifeline.Conn, in, out, master *os.File, size terminal.Size) (lifeline.Ending, Traffic, error) {
	defer master.Close()
	hungUp := forwardSignals(line)
	w := &window{outer: int(in.Fd()), inner: master, last: size}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	defer signal.Stop(changed)
	w.follow() // it may have changed before we listened
	go func() {
		for range changed {
			w.follow()
		}
	}()
	var bytesIn, bytesOut atomic.Int64
	traffic := func() Traffic { return Traffic{TTY: true, In: bytesIn.Load(), Out: bytesOut.Load()} }
	end := awaitEnd(line, newNotices(out))
	inputEnd := make(chan struct{})
	// Never waited for once the program has ended: the next key would be.
	go func() {
		// sshd sets a new size before it writes what was typed behind it. The
		// signal comes when it comes: the program must not read first.
		copyCounting(master, in, &bytesIn, w.follow)
		close(inputEnd)
	}()
	outputEnd := make(chan struct{})
	go func() {
		copyCounting(out, master, &bytesOut, func() {})
		close(outputEnd)
	}()
	select {
	case result := <-end:
		// The master reads EIO once all is said and every process has closed
		// the tty. One that lingers keeps it open: what it says later is lost,
		// as with sshd.
		_ = master.SetReadDeadline(time.Now().Add(outputTimeout))
		<-outputEnd
		return result.ending, traffic(), result.err
	case <-hungUp:
	case <-inputEnd:
	}
	return lifeline.Ending{}, traffic(), ErrHungUp
}

// window keeps the size of the pty in the container equal to the terminal's.
type window struct {
	outer int
	inner *os.File
	mu    sync.Mutex
	last  terminal.Size // what the inner one was given; a program may have changed it
}

// follow applies the outer size if it is a new one. Reading and setting are one
// step under the lock, or of two callers the one with the older size could come last.
func (w *window) follow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	size, err := terminal.GetSize(w.outer)
	if err != nil || size == w.last {
		return
	}
	conn, err := w.inner.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _ = terminal.SetSize(int(fd), size) })
	w.last = size
}

// copyCounting copies until the source ends or the destination fails, and counts the
// bytes. before is called between the reading and the writing of each piece.
func copyCounting(to, from *os.File, count *atomic.Int64, before func()) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			before()
			n, err := to.Write(buf[:n])
			count.Add(int64(n))
			if err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
