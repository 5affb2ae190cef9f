// SPDX-License-Identifier: Apache-2.0

// Package lifeline is the wire between the two ends of one session:
// berth-session on the host and berth-guest in the container. It is a unix
// stream socket that carries small frames and, with some of them, file
// descriptors. When either end closes it, or dies, the session is over.
//
// A frame is one byte of kind, four bytes of length (big endian) and a body.
// Nothing here believes what the other end says about itself: who it is comes
// from the kernel (Peer), how much it may send from the caller (Recv).
package lifeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Kind names what a frame's body holds.
type Kind byte

// The frames, in the order in which a session sees them.
const (
	Hello    Kind = 'H' // session to the container's server: it waits for a guest; no body
	Identity Kind = 'I' // session to guest: names for the ids that the kernel told
	Ready    Kind = 'A' // guest to session: it has become the user and waits for the start
	Start    Kind = 'S' // session to guest: what to run; three descriptors unless a tty is asked for
	Started  Kind = 'R' // guest to session: it runs; descriptors: the pty's master with a tty, the agent's listener
	Signal   Kind = 'G' // session to guest: one byte, a signal number for the session's process group
	Exit     Kind = 'X' // guest to session: how the session's first process ended
	Notice   Kind = 'N' // guest to session: a line for the terminal, once it has given its id
	Failure  Kind = 'E' // guest to session: it could not be started, or was ended, and why
)

// Limits on a frame's body, in bytes. The start's holds a command and an
// environment, each of which execve(2) limits to 128 KiB a string.
const (
	MaxIdentity = 128 << 10
	MaxStart    = 1 << 20
	MaxReply    = 16 << 10
)

// MaxFDs is how many descriptors may come with one frame; the kernel drops
// what exceeds the room we give it (unix(7), MSG_CTRUNC).
const MaxFDs = 3

const headerSize = 5

// ErrTooLong is a frame whose length exceeds what its reader allows.
var ErrTooLong = errors.New("frame too long")

// Conn is one end of a lifeline. It is used by one reader and one writer.
type Conn struct {
	file  *os.File
	raw   syscall.RawConn
	fds   []int
	guest Guest
}

// New takes over fd, a connected unix stream socket.
func New(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("lifeline: nonblock: %w", err)
	}
	file := os.NewFile(uintptr(fd), "lifeline")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("lifeline: %w", err)
	}
	return &Conn{file: file, raw: raw}, nil
}

// Dial connects to the socket at path, for at most bound: connect(2) waits for a
// listener whose queue is full.
func Dial(path string, bound time.Duration) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("lifeline: socket: %w", err)
	}
	limit := unix.NsecToTimeval(int64(bound))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("lifeline: socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("lifeline: connect %s: %w", path, err)
	}
	return New(fd)
}

// Accept waits until deadline for the one peer of the listening socket fd.
func Accept(fd int, deadline time.Time) (*Conn, error) {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, fmt.Errorf("lifeline: accept: %w", os.ErrDeadlineExceeded)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, int(left.Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			return nil, fmt.Errorf("lifeline: accept: %w", err)
		}
		if n <= 0 {
			continue
		}
		peer, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lifeline: accept: %w", err)
		}
		return New(peer)
	}
}

// AwaitByte returns when there is something to read, and reads nothing. It
// returns io.EOF when the other end has closed.
func (c *Conn) AwaitByte() error {
	var one [1]byte
	var n int
	var err error
	if rerr := c.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK)
		return !errors.Is(err, unix.EAGAIN)
	}); rerr != nil {
		return fmt.Errorf("lifeline: %w", rerr)
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return err
}

// Control calls f with the connection's descriptor, which stays the
// connection's.
func (c *Conn) Control(f func(fd uintptr)) error { return c.raw.Control(f) }

// SetDeadline bounds every later Send and Recv; the zero time lifts the bound.
func (c *Conn) SetDeadline(t time.Time) error { return c.file.SetDeadline(t) }

// Close ends the lifeline and drops descriptors that nobody took.
func (c *Conn) Close() error {
	for _, fd := range c.TakeFDs() {
		unix.Close(fd)
	}
	return c.file.Close()
}

// TakeFDs hands over the descriptors that came with the frames read so far.
func (c *Conn) TakeFDs() []int {
	fds := c.fds
	c.fds = nil
	return fds
}

// Frame is one frame as it is on the wire.
func Frame(kind Kind, body []byte) []byte {
	frame := make([]byte, headerSize, headerSize+len(body))
	frame[0] = byte(kind)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(body)))
	return append(frame, body...)
}

// Send writes one frame, with fds attached to its first byte.
func (c *Conn) Send(kind Kind, body []byte, fds ...int) error {
	frame := Frame(kind, body)
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(frame) > 0 {
		var n int
		var err error
		if werr := c.raw.Write(func(fd uintptr) bool {
			n, err = unix.SendmsgN(int(fd), frame, oob, nil, unix.MSG_NOSIGNAL)
			return !errors.Is(err, unix.EAGAIN)
		}); werr != nil {
			return fmt.Errorf("lifeline: send: %w", werr)
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("lifeline: send: %w", err)
		}
		frame, oob = frame[n:], nil
	}
	return nil
}

// Recv reads one frame whose body is at most limit bytes long. It returns
// io.EOF when the other end closed between two frames.
func (c *Conn) Recv(limit int) (Kind, []byte, error) {
	var head [headerSize]byte
	if err := c.readFull(head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if uint64(size) > uint64(limit) {
		return 0, nil, fmt.Errorf("lifeline: %d bytes of kind %q: %w", size, head[0], ErrTooLong)
	}
	body := make([]byte, size)
	if err := c.readFull(body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Kind(head[0]), body, nil
}

// readFull reads exactly len(p) bytes and keeps the descriptors that come along.
func (c *Conn) readFull(p []byte) error {
	for done := 0; done < len(p); {
		var oob [64]byte // room for MaxFDs and little more
		var n, oobn int
		var err error
		if rerr := c.raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), p[done:], oob[:unix.CmsgSpace(4*MaxFDs)], unix.MSG_CMSG_CLOEXEC)
			return !errors.Is(err, unix.EAGAIN)
		}); rerr != nil {
			return fmt.Errorf("lifeline: receive: %w", rerr)
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("lifeline: receive: %w", err)
		}
		if err := c.keepFDs(oob[:oobn]); err != nil {
			return err
		}
		if n == 0 {
			if done == 0 {
				return io.EOF
			}
			return io.ErrUnexpectedEOF
		}
		done += n
	}
	return nil
}

func (c *Conn) keepFDs(oob []byte) error {
	if len(oob) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("lifeline: control message: %w", err)
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			c.fds = append(c.fds, fds...)
		}
	}
	if len(c.fds) > MaxFDs {
		return fmt.Errorf("lifeline: %d descriptors at once", len(c.fds))
	}
	return nil
}
