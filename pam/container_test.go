// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withContainer gives the site what a host with berth's container has, and a program in
// the place of berth's.
const withContainer = `mount -t tmpfs -o mode=755 none /var/lib; mkdir /var/lib/berth
mount --bind "$S/berth" /var/lib/berth; mount --bind "$S/sbin" /usr/sbin
`

// box is what the container in which the user lands shares with the site's host.
const box = "berth/profiles/default/box"

// newContainerSite is a site in which all is in place: the link, and somebody who listens.
// berth says in berth/asked what it was asked, and then does what the script says.
func newContainerSite(t *testing.T, options, script string) *site {
	t.Helper()
	s := newSite(t, "container "+options)
	s.more = withContainer
	for _, d := range []string{box, "berth/users", "sbin"} {
		s.must(os.MkdirAll(filepath.Join(s.dir, d), 0o755))
	}
	s.write("sbin/berth", "#!/bin/sh\necho \"$@\" >>/var/lib/berth/asked\ncd /var/lib/berth\n"+script+"\n", 0o755)
	s.write("berth/asked", "", 0o644)
	s.serve("socket")
	s.link("../profiles/default/box")
	return s
}

// link has root decide on a container now.
func (s *site) link(target string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "berth/users/4711")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	s.must(os.Symlink(target, path))
}

// serve listens in the container's directory, until it is closed.
func (s *site) serve(name string) *net.UnixListener {
	s.t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(s.dir, box, name), Net: "unix"})
	s.must(err)
	l.SetUnlinkOnClose(false)
	s.t.Cleanup(func() { l.Close() })
	return l
}

// take locks a lease, as the keeper does that ends its container.
func (s *site) take(path string) (*os.File, error) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, path), os.O_RDWR|os.O_CREATE, 0o600)
	s.must(err)
	s.t.Cleanup(func() { f.Close() })
	return f, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// checkFree checks that nobody has the lease.
func (s *site) checkFree(path string) {
	s.t.Helper()
	f, err := s.take(path)
	if err != nil {
		s.t.Errorf("%s: somebody has the lease: %v", path, err)
	}
	f.Close()
}

// asked is what berth was asked.
func (s *site) asked() string { return s.text(filepath.Join(s.dir, "berth/asked")) }

// isHeld says, in the shell of a session's host, who has the lease of the directory $1, and
// through how many descriptors: the host, and what it starts.
const isHeld = `held() {
	flock -n /var/lib/berth/$1/lease true && echo "$1 is free" || echo "$1 is held"
	echo "host has $(ls -l /proc/$PPID/fd | grep -c /lease$), child has $(ls -l /proc/self/fd | grep -c /lease$)"
}
`

const held = "profiles/default/box is held\nhost has 1, child has 0\n"

// With all in place the lease is taken and kept, no worker runs, and at the close the host is
// as before. However often a stack runs, the connection has one lease.
func TestContainerInPlace(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"1", "50"} {
		s := newContainerSite(t, "debug", "")
		log := s.listen()
		start := time.Now().Add(-time.Second) // the kernel's clock for files is coarse
		out := s.host("umask 0777", user, "within", n, isHeld+"held profiles/default/box; echo prepared ${BERTH_PREPARED-at once}")
		checkLines(t, out, held+"prepared at once\nopen 0 close 0")
		checkApplication(t, out)
		s.checkFree(box + "/lease")
		if st, err := os.Stat(filepath.Join(s.dir, box, "lease")); err != nil || st.ModTime().Before(start) || st.Mode() != 0o600 || st.Size() != 0 {
			t.Errorf("the lease: %v, %v", st, err)
		}
		checkLines(t, log.lines(), "the container of nina is in place")
		if asked := s.asked(); asked != "" {
			t.Errorf("asked: %q", asked)
		}
		s.checkNoHome()
	}
}

// The lease of a user is not kept for the next.
func TestContainerOfAnother(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "", "")
	for _, name := range []string{"root", "sys"} {
		out := s.host("", name, "within", "1", isHeld+"held profiles/default/box")
		checkLines(t, out, "box is free\nhost has 0, child has 0\nopen 0 close 0")
	}
	out := s.host("set -- setpriv --reuid 4711 --regid 4711 --clear-groups \"$@\"",
		user, "within", "1", isHeld+"held profiles/default/box")
	checkLines(t, out, "host has 0, child has 0\nopen 0 close 0")
	if asked := s.asked(); asked != "" {
		t.Errorf("asked: %q", asked)
	}
}

// When root's side is asked: for this user, by the number alone. What then fails refuses
// nobody.
func TestContainerThatIsNotReady(t *testing.T) {
	t.Parallel()
	const age = "touch -h -d '%s ago' $S/berth/users/4711"
	for name, c := range map[string]struct {
		spoil, why string // why is "" where berth is not asked
		serve      string // who listens, but for the socket
		backlog    bool   // there its queue is full
	}{
		"in place":                 {},
		"no link":                  {spoil: "rm $S/berth/users/4711", why: "none is decided on"},
		"an old link":              {spoil: fmt.Sprintf(age, "601 seconds"), why: "some time ago"},
		"a link of today":          {spoil: "touch -d '1 hour ago' $S/passwd; " + fmt.Sprintf(age, "500 seconds")},
		"a link of tomorrow":       {spoil: "touch -h -d '1 minute' $S/berth/users/4711", why: "some time ago"},
		"new accounts":             {spoil: fmt.Sprintf(age, "5 seconds"), why: "some time ago"},
		"a new record":             {spoil: "mkdir -m 755 $S/berth/names; touch -d '1 hour ago' $S/passwd; touch $S/berth/names/4711; " + fmt.Sprintf(age, "5 seconds"), why: "some time ago"},
		"an old record":            {spoil: "mkdir -m 755 $S/berth/names; touch -d '1 hour ago' $S/passwd $S/berth/names/4711; " + fmt.Sprintf(age, "5 seconds")},
		"a new berth.toml":         {spoil: ownDirs + "copied /etc; mkdir -p /etc/berth; touch -d '1 hour ago' /etc/passwd; touch /etc/berth/berth.toml; " + fmt.Sprintf(age, "5 seconds"), why: "some time ago"},
		"started":                  {spoil: "touch $B/unsettled", why: "it has been started"},
		"it cannot be settled":     {spoil: "echo failed >$B/unsettled; touch -d '50 seconds ago' $B/unsettled"},
		"it could not be settled":  {spoil: "echo failed >$B/unsettled; touch -d '61 seconds ago' $B/unsettled", why: "it has been started"},
		"no socket":                {spoil: "rm $B/socket", why: "nobody serves"},
		"nobody behind the socket": {spoil: "rm $B/socket; perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0);bind(S,sockaddr_un($ARGV[0])) or die' $B/socket", why: "nobody serves"},
		"a link to somebody":       {spoil: "mv $B/socket $B/real; ln -s real $B/socket", why: "nobody serves"},
		"a file":                   {spoil: "rm $B/socket; touch $B/socket", why: "nobody serves"},
		"transport exec":           {spoil: "rm $B/socket", serve: "control"},
		"busy":                     {spoil: "rm $B/socket; mv $B/busy $B/socket", serve: "busy", backlog: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContainerSite(t, "debug", "")
			if c.serve != "" {
				l := s.serve(c.serve)
				if c.backlog {
					s.fill(l, filepath.Join(s.dir, box, c.serve))
				}
			}
			log := s.listen()
			out := s.host("B=$S/"+box+"; "+c.spoil, user, "within", "1", isHeld+"held profiles/default/box")
			checkLines(t, out, "open 0 close 0")
			if name != "no link" {
				checkLines(t, out, held)
			}
			asked := ""
			if c.why != "" {
				asked = "prepare 4711\n"
			}
			if got := s.asked(); got != asked {
				t.Errorf("asked: %q, want %q", got, asked)
			}
			checkLines(t, log.lines(), c.why)
		})
	}
}

// fill has callers wait until no other one may.
func (s *site) fill(l *net.UnixListener, path string) {
	s.t.Helper()
	raw, err := l.SyscallConn()
	s.must(err)
	s.must(raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 1) }))
	s.must(err)
	for err == nil {
		var fd int
		fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		s.must(err)
		s.t.Cleanup(func() { unix.Close(fd) })
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if !errors.Is(err, unix.EAGAIN) {
		s.t.Fatal(err)
	}
}

// What berth does while a container is prepared, the lease is that of the container of after.
func TestContainerIsAnother(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, held, free string }{
		"the link":          {"mkdir -p profiles/teaching/own.4711; ln -sfn ../profiles/teaching/own.4711 users/4711", "profiles/teaching/own.4711", "profiles/default/box"},
		"the same link":     {"ln -sfn ../profiles/default/box users/4711", "profiles/default/box", ""},
		"the directory":     {"mv profiles/default/box profiles/default/old; mkdir profiles/default/box; ln -sfn ../profiles/default/box users/4711", "profiles/default/box", "profiles/default/old"},
		"the first":         {"ln -sfn ../profiles/default/box users/4711", "profiles/default/box", ""},
		"a first directory": {"mkdir -p profiles/p/c; ln -sfn ../profiles/p/c users/4711", "profiles/p/c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContainerSite(t, "", c.script)
			before := "touch -h -d '601 seconds ago' $S/berth/users/4711; "
			switch name {
			case "the first":
				before = "rm $S/berth/users/4711; "
			case "a first directory":
				before = "rm -r $S/berth/users/4711 $S/berth/profiles; "
			}
			look := isHeld + "held " + c.held
			if c.free != "" {
				look += "; held " + c.free
			}
			out := s.host(before, user, "within", "1", look)
			checkLines(t, out, c.held+" is held\nhost has 1, child has 0\n", "open 0 close 0")
			if c.free != "" {
				checkLines(t, out, c.free+" is free\n")
			}
			checkApplication(t, out)
			s.checkFree("berth/" + c.held + "/lease")
		})
	}
}

// Whoever waited for longer than a second is told so by berth-session.
func TestContainerThatTakesTime(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "", "sleep 1.2")
	s.must(os.Remove(filepath.Join(s.dir, box, "socket")))
	out := s.host("", user, "within", "1", "echo took=$BERTH_PREPARED.")
	var ms int
	if _, at, _ := strings.Cut(out, "took="); at == "" {
		t.Fatal(out)
	} else if _, err := fmt.Sscanf(at, "%d.", &ms); err != nil || ms < 1200 || ms > 8000 {
		t.Errorf("took %d ms, %v", ms, err)
	}
}

// A mark is marked again when berth has failed, and then left alone for a minute.
func TestContainerThatCannotBeSettled(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "", "exit 3")
	log := s.listen()
	mark := filepath.Join(s.dir, box, "unsettled")
	s.must(os.WriteFile(mark, nil, 0o600))
	for range 3 {
		checkLines(t, s.session("", user), "open 0 close 0")
	}
	if got := s.asked() + s.text(mark); got != "prepare 4711\nfailed\n" {
		t.Errorf("%q", got)
	}
	checkLines(t, log.lines(), "prepare: /usr/sbin/berth: exit status 3")
	// What is no mark of the keeper's is not written to.
	s.write("victim", "precious", 0o600)
	for _, plant := range []string{"ln -s $S/victim $S/" + box + "/unsettled", "ln $S/victim $S/" + box + "/unsettled; touch -d '2 minutes ago' $S/victim"} {
		s.must(os.Remove(mark))
		checkLines(t, s.session(plant, user), "open 0 close 0")
		if got := s.text(filepath.Join(s.dir, "victim")); got != "precious" {
			t.Errorf("%s: %q", plant, got)
		}
	}
}

// What means nothing in such a line is told.
func TestContainerLineWithOtherOptions(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "exec=/bin/false exec_failure=deny skel=/x", "")
	log := s.listen()
	checkLines(t, s.session("", user), "open 0 close 0")
	checkLines(t, log.lines(), "exec=/bin/false is nothing to a line with container", "skel=/x is nothing to a line with container")
}
