// SPDX-License-Identifier: Apache-2.0

// Package guest is berth-enter: the end of a session inside the container. The
// engine starts it as container root; it becomes the user before it reads what
// she asked for, starts her program, stays its parent, and ends all of the
// session's processes when the lifeline closes.
package guest

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"berth/helper/internal/lifeline"

	"golang.org/x/sys/unix"
)

// lifelineDir is where the host's lifeline directory is mounted.
const lifelineDir = "/run/berth/lifeline"

// handshake bounds all waiting for the other end until the session runs.
const handshake = 10 * time.Second

// overflowID is what the kernel reports for ids that this user namespace does
// not map (user_namespaces(7)), and what most systems call nobody.
const overflowID = 65534

var lifelineName = regexp.MustCompile(`^[0-9]{1,10}\.[0-9]{1,10}$`)

// Session serves the lifeline called name, from the connection to the death of
// the session's last process. Failures are told to the other end if there is
// one.
func Session(name string) error {
	if !lifelineName.MatchString(name) {
		return fmt.Errorf("%q names no lifeline", name)
	}
	path := filepath.Join(lifelineDir, name)
	line, err := lifeline.Dial(path)
	if err != nil {
		return err
	}
	defer line.Close()
	// It has served: its directory belongs to container root.
	_ = unix.Unlink(path)
	if err := line.SetDeadline(time.Now().Add(handshake)); err != nil {
		return fmt.Errorf("lifeline: %w", err)
	}
	session, err := open(line)
	if err != nil {
		refusal := lifeline.Refusal{Status: 255, User: "the session could not be started in the container", Cause: err.Error()}
		if own := (*refused)(nil); errors.As(err, &own) {
			refusal.Status, refusal.User = own.status, own.user
		}
		return errors.Join(err, line.Send(lifeline.Failure, refusal.Pack()))
	}
	return session.supervise(line)
}

// refused is a failure with words for the user and an exit status of its own.
type refused struct {
	status int
	user   string
	cause  error
}

func (r *refused) Error() string { return r.user + ": " + r.cause.Error() }
func (r *refused) Unwrap() error { return r.cause }

// open takes the session from the connection to the running program.
//
// ORDER MATTERS. 1. The kernel says who. 2. As root: her names, nothing else.
// 3. For good: become her. 4. As her: read and do what she asked.
func open(line *lifeline.Conn) (*running, error) {
	peer, err := line.Peer() // 1
	if err != nil {
		return nil, err
	}
	if err := servable(peer); err != nil {
		return nil, err
	}
	body, err := expect(line, lifeline.Identity, lifeline.MaxIdentity) // 2
	if err != nil {
		return nil, err
	}
	names, err := lifeline.UnpackNames(body)
	if err != nil {
		return nil, err
	}
	if err := checkNames(&names); err != nil {
		return nil, err
	}
	shell := firstProgram(names.Shells)
	if err := recordNames(namesDir, baseDir, peer, names, shell); err != nil {
		return nil, err
	}
	if err := become(peer); err != nil { // 3
		return nil, err
	}
	body, err = expect(line, lifeline.Start, lifeline.MaxStart) // 4
	if err != nil {
		return nil, err
	}
	request, err := lifeline.UnpackStart(body)
	if err != nil {
		return nil, err
	}
	return start(line, request, names.Home, shell)
}

func servable(peer lifeline.Peer) error {
	for _, id := range append([]uint32{peer.UID, peer.GID}, peer.Groups...) {
		if id == 0 || id == overflowID {
			return fmt.Errorf("uid %d, gid %d, groups %d: id %d is no user's", peer.UID, peer.GID, peer.Groups, id)
		}
	}
	return nil
}

func expect(line *lifeline.Conn, want lifeline.Kind, limit int) ([]byte, error) {
	kind, body, err := line.Recv(limit)
	if err != nil {
		return nil, err
	}
	if kind != want {
		return nil, fmt.Errorf("lifeline: frame %q where %q is due", kind, want)
	}
	return body, nil
}

// firstProgram returns the first path that is an executable file, or "".
func firstProgram(paths []string) string {
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return path
		}
	}
	return ""
}
