// SPDX-License-Identifier: Apache-2.0

package sessionlog

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	identifier    = "berth-session"
	journalSocket = "/run/systemd/journal/socket"
	syslogSocket  = "/dev/log"
)

// patience bounds the wait for a log that does not read: a login must not hang on it.
const patience = time.Second

// sink sends lines to journald, and where there is none to syslog. Without
// either they go nowhere: a login must not depend on it, and the user's terminal
// is no place for them.
type sink struct {
	journal, syslog string
	socket          int // 0: not opened yet
}

func (s *sink) send(priority int, fields []field) { _ = s.prepare(priority, fields)() }

// prepare does all of send but the sending, which is what it returns. That fails if no log has taken the line.
func (s *sink) prepare(priority int, fields []field) (send func() error) {
	if err := s.open(); err != nil {
		return func() error { return err }
	}
	whole := entry(priority, fields)
	line := []byte(fmt.Sprintf("<%d>%s %s[%d]: %s", authpriv<<3|priority, time.Now().Format(time.Stamp), identifier, os.Getpid(), text(fields)))
	return func() error { return s.sendPrepared(priority, fields, whole, line) }
}

func (s *sink) sendPrepared(priority int, fields []field, whole, line []byte) error {
	err := s.datagram(s.journal, whole)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		short := make([]field, len(fields))
		for i, f := range fields {
			short[i] = field{f.name, excerpt(f.value), f.inLine}
		}
		err = s.datagram(s.journal, entry(priority, short))
	}
	if err == nil {
		return nil
	}
	if err = s.datagram(s.syslog, line); errors.Is(err, unix.EPROTOTYPE) {
		err = stream(s.syslog, append(line, '\n'))
	}
	return err
}

func (s *sink) open() error {
	if s.socket > 0 {
		return nil
	}
	fd, err := socket(unix.SOCK_DGRAM)
	s.socket = fd
	return err
}

func socket(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	bound := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &bound); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func (s *sink) datagram(path string, data []byte) error {
	for {
		err := unix.Sendto(s.socket, data, unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: path})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// stream is for a syslog that reads a stream (syslog-ng's unix-stream).
func stream(path string, line []byte) error {
	fd, err := socket(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	return unix.Sendto(fd, line, unix.MSG_NOSIGNAL, nil)
}
