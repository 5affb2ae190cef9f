// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"

	"berth/helper/internal/host/agent"
	"berth/helper/internal/link/lifeline"

	"golang.org/x/sys/unix"
)

// takeDescriptors returns the master of the program's terminal, or -1, and has the agent served
// if the guest has made a socket for it.
func (s *Session) takeDescriptors(line *lifeline.Conn, tty bool, started lifeline.StartedReply) (master int, err error) {
	fds := line.TakeFDs()
	hasListener := s.Start.Agent && started.NoAgent == ""
	expected := 0
	if tty {
		expected++
	}
	if hasListener {
		expected++
	}
	if len(fds) != expected {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("handshake: %d descriptors: %w", len(fds), lifeline.ErrMalformed)
	}
	master = -1
	if tty {
		master, fds = fds[0], fds[1:]
	}
	why := started.NoAgent
	if hasListener {
		if err := agent.Serve(fds[0], s.Agent); err != nil {
			why = err.Error()
		}
	}
	if s.Agent != nil && !s.Start.Agent {
		why = "the container's programs are older than berth-session; run berth up"
	}
	if why != "" {
		s.Warn("the session has no agent: " + printable(why))
	}
	return master, nil
}
