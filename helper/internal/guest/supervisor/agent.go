// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest. As: the user.

package supervisor

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// agent is the socket by which the session's programs reach the user's ssh-agent. The supervisor
// only makes it: berth-session, which alone can reach the agent, accepts the callers, and
// berth-init watch removes the directory at the end of the session.
type agent struct {
	path     string // of the socket, which is alone in its directory
	listener int
}

// agentBacklog is how many callers may wait until berth-session accepts them.
const agentBacklog = 128

// listenForAgent makes a socket in a new directory, which only the user enters.
func listenForAgent() (*agent, error) {
	dir, err := os.MkdirTemp("/tmp", "berth-agent-")
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &agent{path: filepath.Join(dir, "socket")}
	a.listener, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		_ = os.Remove(dir)
		return nil, fmt.Errorf("agent: socket: %w", err)
	}
	if err = unix.Bind(a.listener, &unix.SockaddrUnix{Name: a.path}); err == nil {
		err = unix.Listen(a.listener, agentBacklog)
	}
	if err != nil {
		a.close()
		a.remove()
		return nil, fmt.Errorf("agent: %s: %w", a.path, err)
	}
	return a, nil
}

// close closes this process's descriptor. When berth-session's is closed, too, nobody can connect.
func (a *agent) close() { unix.Close(a.listener) }

func (a *agent) remove() {
	_ = os.Remove(a.path)
	_ = os.Remove(filepath.Dir(a.path))
}
