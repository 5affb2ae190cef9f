// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/helper/internal/lifeline"
	"berth/helper/internal/rules"

	"golang.org/x/sys/unix"
)

// A container that berth did not make has none of its mounts. Its keeper is
// started by one exec and gets the listener, which is bound on the host, and the
// rules by a socket in the container's own /dev/shm, where berth finds it through
// /proc/PID/root.

// handover bounds the wait for the other side.
const handover = 10 * time.Second

// Meeting is where the two sides of an adoption meet, in the container. The nonce
// is of this one adoption.
func Meeting(nonce string) string { return filepath.Join("/dev/shm", "berth-"+nonce, "meet") }

// Hand gives the listener and the rules to the keeper with the host's pid, that
// waits at the meeting.
func Hand(pid int, nonce string, listener int, r rules.Rules) error {
	path := fmt.Sprintf("/proc/%d/root%s", pid, Meeting(nonce))
	var line *lifeline.Conn
	var err error
	for end := time.Now().Add(handover); ; time.Sleep(10 * time.Millisecond) {
		if line, err = lifeline.Dial(path, handover); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return err
	}
	defer line.Close()
	// What is in a container's file system may be anybody's.
	if peer, err := line.Peer(); err != nil || peer.UID != 0 || int(peer.PID) != pid {
		return fmt.Errorf("uid %d, pid %d waits at %s, not pid %d: %w", peer.UID, peer.PID, path, pid, err)
	}
	if err := line.SetDeadline(time.Now().Add(handover)); err != nil {
		return err
	}
	_, err = line.Ask(lifeline.Hello, []byte(strings.Join(r.Words(), "\n")), lifeline.Ready, listener)
	return err
}

// Adopt waits at the meeting for a listener and rules, and keeps that.
func Adopt(nonce string) error {
	path := Meeting(nonce)
	// Nobody else's, in a directory that everybody may write.
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	k, err := meet(path)
	if err = errors.Join(err, os.RemoveAll(filepath.Dir(path))); err != nil {
		return err
	}
	return k.run()
}

func meet(path string) (*keeper, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("bind %s: %w", path, err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	line, err := lifeline.Accept(fd, time.Now().Add(handover))
	if err != nil {
		return nil, err
	}
	defer line.Close()
	if err := line.SetDeadline(time.Now().Add(handover)); err != nil {
		return nil, err
	}
	peer, err := line.Peer()
	if err != nil || peer.UID != 0 {
		return nil, fmt.Errorf("uid %d came to the meeting: %w", peer.UID, err)
	}
	kind, body, err := line.Recv(lifeline.MaxReply)
	fds := line.TakeFDs()
	if err != nil || kind != lifeline.Hello || len(fds) != 1 {
		return nil, fmt.Errorf("frame %q, %d descriptors: %w", kind, len(fds), err)
	}
	r, err := rules.Parse(strings.Split(string(body), "\n"))
	if err != nil {
		return nil, err
	}
	k := newKeeper(fds[0])
	k.given = &r
	return k, line.Send(lifeline.Ready, nil)
}
