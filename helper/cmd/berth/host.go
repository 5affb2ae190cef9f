// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// helperPath is where berth-session is installed.
const helperPath = "/usr/libexec/berth/berth-session"

// prepare makes what a login needs on the host beside the container: the
// lifeline directory and the link to the engine's socket. It returns what the
// administrator should know although nothing failed.
func prepare(p policy.Policy, configDir string) (notes []string, err error) {
	var socket unix.Stat_t
	if err := unix.Stat(p.Engine.Socket, &socket); err != nil {
		return nil, fmt.Errorf("engine.socket: %s: %w", p.Engine.Socket, err)
	}
	if err := lifelines(p.Container.Lifeline, int(socket.Gid)); err != nil {
		return nil, err
	}
	if err := link(p.Engine.Socket, filepath.Join(configDir, "engine.sock")); err != nil {
		return nil, err
	}
	var helper unix.Stat_t
	switch err := unix.Stat(helperPath, &helper); {
	case err != nil:
		notes = append(notes, fmt.Sprintf("%s: %v: nobody can log in", helperPath, err))
	case helper.Gid != socket.Gid || helper.Mode&unix.S_ISGID == 0 || helper.Uid != 0:
		notes = append(notes, fmt.Sprintf("%s must be root's and setgid to gid %d, which owns %s: nobody can log in", helperPath, socket.Gid, p.Engine.Socket))
	}
	return notes, nil
}

// lifelines makes the directory that root and the engine's group alone enter,
// and takes dead sockets out of it.
func lifelines(dir string, group int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("container.lifeline: %w", err)
	}
	// Of its parents only root may change anything; the mode is set last.
	if err := os.Chown(dir, 0, group); err != nil {
		return fmt.Errorf("container.lifeline: %w", err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("container.lifeline: %w", err)
	}
	if err := unix.Chmod(dir, unix.S_ISVTX|0o730); err != nil {
		return fmt.Errorf("container.lifeline: %s: %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("container.lifeline: %w", err)
	}
	for _, entry := range entries {
		if path := filepath.Join(dir, entry.Name()); entry.Type()&fs.ModeSocket != 0 && dead(path) {
			_ = os.Remove(path)
		}
	}
	return nil
}

// dead reports whether nobody listens on the socket any more. A session that
// waits for its guest would be disturbed by a connection, but not ended: it
// takes container root's, and root's, for the guest. So only the kernel's own
// word counts, which a datagram socket gets without connecting.
func dead(path string) bool {
	conn, err := net.Dial("unixgram", path)
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// link makes path lead to the engine's socket, atomically.
func link(socket, path string) error {
	if target, err := os.Readlink(path); err == nil && target == socket {
		return nil
	}
	next := path + ".new"
	_ = os.Remove(next)
	if err := os.Symlink(socket, next); err != nil {
		return fmt.Errorf("engine link: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("engine link: %w", err)
	}
	return nil
}
