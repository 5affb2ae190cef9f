// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest session. As: container root; sendDone also as the user.

package supervisor

import (
	"errors"
	"fmt"
	"math"
	"time"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"

	"golang.org/x/sys/unix"
)

// keeper is a supervisor's connection to the container's first process, which
// knows by it that the supervisor lives (helper/cmd/berth-init/sessions.c).
type keeper struct {
	fd      int
	takesID bool // it has said so
}

// registerTimeout is how long the keeper may take to let a session in: what a user's last
// one has left is still being removed (helper/cmd/berth-init/sweep.c).
const registerTimeout = 5 * time.Second

var (
	errSessionLimit = errors.New("the keeper counts too many sessions")
	errStopped      = errors.New("the keeper ends")
)

func dialKeeper() (*keeper, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keeper: socket: %w", err)
	}
	bound := unix.NsecToTimeval(int64(registerTimeout))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &bound)
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &bound)
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: paths.Register})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("keeper: connect %s: %w", paths.Register, err)
	}
	return &keeper{fd: fd}, nil
}

// sendDone says that nothing is left of the session.
func (k *keeper) sendDone() {
	_ = unix.Sendto(k.fd, []byte("done"), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
	unix.Close(k.fd)
}

// sendID says how the session is called in the log: by the user's word, whose form the keeper
// checks. It is time for notices now.
func (k *keeper) sendID(id string) {
	if k.takesID && id != "" && len(id) <= maxID {
		_ = unix.Sendto(k.fd, []byte("id "+id), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
	}
}

// maxID is the length of the longest id (package sessionlog).
const maxID = 17

// register tells the keeper for whom this supervisor is about to work, and hands it
// a copy of the lifeline: should this process be stopped, the keeper sees the
// session's end by that.
func (v *supervisor) register(line *lifeline.Conn, peer lifeline.Peer) error {
	number := map[bool]int{true: 1}
	text := fmt.Sprintf("%d %d %d %d %d %d", peer.UID, peer.GID, v.rules.Limit, number[v.rules.Linger != 0], number[v.direct], min(max(v.rules.Linger, 0), math.MaxInt32))
	var err error
	if cerr := line.Control(func(fd uintptr) {
		err = unix.Sendmsg(v.keeper.fd, []byte(text), unix.UnixRights(int(fd)), nil, unix.MSG_NOSIGNAL)
	}); cerr != nil {
		err = cerr
	}
	var answer [64]byte
	var n int
	for err == nil {
		n, _, err = unix.Recvfrom(v.keeper.fd, answer[:], 0)
		if !errors.Is(err, unix.EINTR) {
			break
		}
		err = nil
	}
	v.keeper.takesID = string(answer[:max(n, 0)]) == "ok id"
	switch {
	case err != nil:
		return fmt.Errorf("keeper: %w", err)
	case v.keeper.takesID:
		return nil
	case string(answer[:n]) == "full":
		return loginerror.Deny(fmt.Sprintf("you have %d sessions, which is the limit; end one and try again", v.rules.Limit), errSessionLimit)
	case string(answer[:n]) == "stopped":
		return loginerror.New("the container is being stopped", errStopped)
	case string(answer[:n]) != "ok":
		return fmt.Errorf("keeper: it says %q", answer[:n])
	}
	return nil
}
