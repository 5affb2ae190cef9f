// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// devLog is a shell line that puts a /dev in place, in the site's namespace, in
// which the log is the site's own socket.
const devLog = `mkdir -p "$S/dev"; mount -t tmpfs none "$S/dev"
for n in null zero full random urandom tty; do touch "$S/dev/$n"; mount --bind /dev/$n "$S/dev/$n"; done
mkdir "$S/dev/pts" "$S/dev/shm"; mount --bind /dev/pts "$S/dev/pts"; mount --bind /dev/shm "$S/dev/shm"
ln -s pts/ptmx "$S/dev/ptmx" # the kernel looks for pts beside the file
ln -s /proc/self/fd "$S/dev/fd"; ln -s "$S/log" "$S/dev/log"
mount --rbind "$S/dev" /dev
`

// syslog is what an administrator finds in the log.
type syslog struct {
	t    *testing.T
	path string
	text strings.Builder
	end  chan struct{} // closed after the last word
}

const lastWord = "no more is asked for"

// listen makes the site's log. From then on run has it as /dev/log.
func (s *site) listen() *syslog {
	s.t.Helper()
	path := filepath.Join(s.dir, "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	s.must(err)
	s.must(os.Chmod(path, 0o666))
	s.logged = true
	l := &syslog{t: s.t, path: path, end: make(chan struct{})}
	s.t.Cleanup(func() { conn.Close() })
	go func() {
		defer close(l.end)
		defer conn.Close() // or who logs later would wait once the queue is full
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil || string(buf[:n]) == lastWord {
				return
			}
			l.text.Write(append(buf[:n:n], '\n'))
		}
	}()
	return l
}

// lines returns what was logged, and ends the log; whoever logged has ended.
func (l *syslog) lines() string {
	l.t.Helper()
	conn, err := net.Dial("unixgram", l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(lastWord)); err != nil {
		l.t.Fatal(err)
	}
	<-l.end
	return l.text.String()
}
