// SPDX-License-Identifier: Apache-2.0

// Package supervisor is one: the end of a session inside the container. The
// engine, or the container's spawner, starts it as container root; it tells the
// keeper for whom it works, becomes the user before it reads what they asked for,
// starts their program and stays its parent, as berth-init watch (helper/cmd/berth-init).
package supervisor

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"time"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/drain"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/record"
	"berth/helper/internal/link/rules"

	"golang.org/x/sys/unix"
)

// handshakeTimeout bounds all waiting for the other end until the session runs.
const handshakeTimeout = 10 * time.Second

var lifelineName = regexp.MustCompile(`^[0-9]{1,10}\.[0-9]{1,10}$`)

// ServeExec serves a session that the engine started: it connects to the lifeline
// called name, whose listener is berth-session itself. It returns when the
// session could not be started; failures are told to the other end if there is
// one.
func ServeExec(name string) error {
	if !lifelineName.MatchString(name) {
		return fmt.Errorf("%q names no lifeline", name)
	}
	v, err := newSupervisor(false)
	if err != nil {
		return err
	}
	defer v.keeper.sendDone()
	path := filepath.Join(paths.Lifeline, name)
	line, err := lifeline.Dial(path, handshakeTimeout)
	if err != nil {
		return err
	}
	// It has served: its directory belongs to container root.
	_ = unix.Unlink(path)
	return v.serve(line, v.enterExec)
}

// ServeDirect waits on the socket fd until the container's server hands over a
// session's connection, and serves that as ServeExec does. The caller may have
// written a program of their own for it: what it says is believed of nobody else.
func ServeDirect(fd int) error {
	v, err := newSupervisor(true)
	if err != nil {
		return err
	}
	defer v.keeper.sendDone()
	server, err := lifeline.New(fd)
	if err != nil {
		return err
	}
	if _, err := receive(server, lifeline.Hello, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // the server ended before it had a session for us
		}
		return err
	}
	fds := server.TakeFDs()
	if len(fds) != 1 {
		return fmt.Errorf("%d connections came", len(fds))
	}
	// Nothing of the server's stays open in the session.
	server.Close()
	line, err := lifeline.New(fds[0])
	if err != nil {
		return err
	}
	return v.serve(line, v.enterDirect)
}

// supervisor is what one goes by.
type supervisor struct {
	rules  rules.Rules
	keeper *keeper
	direct bool   // the server handed it the session
	net    uint64 // the inode of the container's network namespace
}

func newSupervisor(direct bool) (*supervisor, error) {
	r, err := rules.Load(filepath.Join(paths.Serve, rules.File))
	if err != nil {
		return nil, err
	}
	var net unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &net); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	k, err := dialKeeper()
	return &supervisor{rules: r, keeper: k, direct: direct, net: net.Ino}, err
}

// guest is what the other end is told of this one when it may ask for a start.
func (v *supervisor) guest() lifeline.Guest {
	return lifeline.Guest{TakesID: v.keeper.takesID, TakesAgent: true, Net: v.net}
}

// account is what is needed to run a program as the user.
type account struct{ home, shell string }

// serve takes a session from the connection to its running program, and then
// becomes what watches over that.
func (v *supervisor) serve(line *lifeline.Conn, enter func(*lifeline.Conn, lifeline.Peer) (account, error)) error {
	defer line.Close()
	if err := line.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return fmt.Errorf("lifeline: %w", err)
	}
	pid, socket, err := v.open(line, enter)
	if err != nil {
		refusal := loginerror.Of(err, loginerror.NotStartedInside)
		return errors.Join(err, line.Send(lifeline.Failure, lifeline.PackRefusal(refusal)))
	}
	return v.becomeWatcher(line, pid, socket)
}

// Probe is whether a session could be started here: the rules are whole, and the
// keeper answers.
func Probe() error {
	v, err := newSupervisor(false)
	if err == nil {
		v.keeper.sendDone()
	}
	return err
}

// open takes the session from the connection to the running program.
//
// ORDER MATTERS. 1. The kernel says who. 2. As root: the keeper is told, the names
// are recorded, nothing else; then, for good: become the user. 3. As the user: read
// and do what they asked.
func (v *supervisor) open(line *lifeline.Conn, enter func(*lifeline.Conn, lifeline.Peer) (account, error)) (pid int, socket string, err error) {
	peer, err := line.Peer() // 1
	if err != nil {
		return 0, "", err
	}
	if err := v.check(peer); err != nil {
		return 0, "", err
	}
	if err := v.register(line, peer); err != nil { // 2
		return 0, "", err
	}
	who, err := enter(line, peer)
	if err != nil {
		return 0, "", err
	}
	request, err := readStart(line) // 3
	if err != nil {
		return 0, "", err
	}
	return v.start(line, request, who)
}

// enterExec enters a session whose other end is berth-session: only that can have
// made the lifeline, for which it took the engine's group. Its names are the
// host's.
func (v *supervisor) enterExec(line *lifeline.Conn, peer lifeline.Peer) (account, error) {
	names, err := readIdentity(line)
	if err != nil {
		return account{}, err
	}
	who := account{home: names.Home, shell: firstExecutable(names.Shells)}
	if err := recordNames(paths.Run, paths.ImageNames, peer, names, who.shell); err != nil {
		return account{}, err
	}
	if err := becomeUser(peer); err != nil {
		return account{}, err
	}
	return who, line.Send(lifeline.Ready, v.guest().Pack())
}

// enterDirect enters a session whose other end may be anything of the peer's. Its
// names come from a record of root's; its home and shell may be what it says, for
// by the time that it is read this process is the user's.
func (v *supervisor) enterDirect(line *lifeline.Conn, peer lifeline.Peer) (account, error) {
	kept, err := record.Read(paths.Names, peer.UID)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return account{}, err
	}
	recorded := err == nil
	known := lifeline.Names{
		User: kept.User, Gecos: kept.Gecos, Home: kept.Home,
		Shells: []string{v.rules.Shell, "/bin/sh"}, Groups: kept.Groups,
	}
	if recorded {
		if kept.Shell != "" {
			known.Shells = append([]string{kept.Shell}, known.Shells...)
		}
		if err := checkNames(&known); err != nil {
			return account{}, err
		}
		if err := recordNames(paths.Run, paths.ImageNames, peer, known, firstExecutable(known.Shells)); err != nil {
			return account{}, err
		}
	}
	if err := becomeUser(peer); err != nil {
		return account{}, err
	}
	claimed, err := handshake(line, v.guest())
	if err != nil {
		return account{}, err
	}
	who := account{home: claimed.Home, shell: firstExecutable(claimed.Shells)}
	if recorded {
		who.home = known.Home
	}
	return who, nil
}

// readStart reads what is to be run.
func readStart(line *lifeline.Conn) (lifeline.StartRequest, error) {
	body, err := receive(line, lifeline.Start, lifeline.MaxStart)
	if err != nil {
		return lifeline.StartRequest{}, err
	}
	return lifeline.UnpackStart(body)
}

// handshake tells the peer that this process is theirs now, and reads what they
// say of themselves.
func handshake(line *lifeline.Conn, guest lifeline.Guest) (lifeline.Names, error) {
	if _, err := receive(line, lifeline.Hello, 0); err != nil {
		return lifeline.Names{}, err
	}
	if err := line.Send(lifeline.Ready, guest.Pack()); err != nil {
		return lifeline.Names{}, err
	}
	return readIdentity(line)
}

// readIdentity reads the names that the other end gives, and checks their form.
func readIdentity(line *lifeline.Conn) (lifeline.Names, error) {
	body, err := receive(line, lifeline.Identity, lifeline.MaxIdentity)
	if err != nil {
		return lifeline.Names{}, err
	}
	names, err := lifeline.UnpackNames(body)
	if err != nil {
		return lifeline.Names{}, err
	}
	return names, checkNames(&names)
}

// check is the last look at who the session is for: with the exec transport, where
// berth-session looked the account up, the only one in the container.
func (v *supervisor) check(peer lifeline.Peer) error {
	caller := access.Caller{UID: peer.UID, GID: peer.GID, Groups: peer.Groups, HasAccount: !v.direct || record.Exists(paths.Names, peer.UID)}
	if err := access.Check(caller, v.rules.Limits()); err != nil || v.direct {
		return err // the server has asked
	}
	return drain.Check(filepath.Join(paths.Serve, paths.Drain))
}

// receive reads the frame that is due.
func receive(line *lifeline.Conn, want lifeline.Kind, limit int) ([]byte, error) {
	kind, body, err := line.Recv(limit)
	if err != nil {
		return nil, err
	}
	if kind != want {
		return nil, fmt.Errorf("lifeline: frame %q where %q is due", kind, want)
	}
	return body, nil
}

// firstExecutable returns the first path that is an executable file, or "".
func firstExecutable(paths []string) string {
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return path
		}
	}
	return ""
}
