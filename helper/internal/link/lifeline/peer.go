// SPDX-License-Identifier: Apache-2.0

package lifeline

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is who holds the other end, as the kernel recorded it when that end
// called connect(2) or listen(2) (unix(7), SO_PEERCRED and SO_PEERGROUPS).
type Peer struct {
	PID    int32
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary
}

// Peer asks the kernel who is at the other end.
func (c *Conn) Peer() (Peer, error) {
	var peer Peer
	var err error
	if cerr := c.raw.Control(func(fd uintptr) { peer, err = peerOf(int(fd)) }); cerr != nil {
		return Peer{}, fmt.Errorf("lifeline: peer: %w", cerr)
	}
	return peer, err
}

func peerOf(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("lifeline: SO_PEERCRED: %w", err)
	}
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		// x/sys has no wrapper: the option's length is in bytes, and ERANGE
		// returns the length that it needs (net/core/sock.c).
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno == unix.ERANGE && int(size) > len(groups)*4 {
			groups = make([]uint32, size/4)
			continue
		}
		if errno != 0 {
			return Peer{}, fmt.Errorf("lifeline: SO_PEERGROUPS: %w", errno)
		}
		return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid, Groups: groups[:size/4]}, nil
	}
}
