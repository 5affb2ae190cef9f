// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// devLog is a shell line that puts a /dev in place, in the site's namespace, in
// which the log is the site's own socket.
const devLog = `mkdir -p "$S/dev"; mount -t tmpfs none "$S/dev"
for n in null zero full random urandom tty ptmx; do touch "$S/dev/$n"; mount --bind /dev/$n "$S/dev/$n"; done
mkdir "$S/dev/pts" "$S/dev/shm"; mount --bind /dev/pts "$S/dev/pts"; mount --bind /dev/shm "$S/dev/shm"; ln -s /proc/self/fd "$S/dev/fd"; ln -s "$S/log" "$S/dev/log"
mount --rbind "$S/dev" /dev
`

// syslog is what an administrator finds in the log.
type syslog struct {
	conn *net.UnixConn
	mu   sync.Mutex
	text strings.Builder
	end  chan struct{}
}

// listen makes the site's log. From then on run has it as /dev/log.
func (s *site) listen() *syslog {
	s.t.Helper()
	path := filepath.Join(s.dir, "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	s.must(err)
	s.must(os.Chmod(path, 0o666))
	s.logged = true
	l := &syslog{conn: conn, end: make(chan struct{})}
	s.t.Cleanup(func() { conn.Close() })
	go func() {
		defer close(l.end)
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			l.mu.Lock()
			l.text.Write(append(buf[:n:n], '\n'))
			l.mu.Unlock()
		}
	}()
	return l
}

// lines returns what was logged; whoever logged has ended.
func (l *syslog) lines() string {
	_ = l.conn.SetReadDeadline(time.Now()) // what is queued is read first
	<-l.end
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
