// SPDX-License-Identifier: Apache-2.0

// Package netns looks whether what sshd forwards for this session ends in the container. It does
// if PAM has led sshd's process into the container's network namespace (pam_berth(8)), for what
// sshd starts is in it as well. sshd forwards without asking us: this is no wall, but the words for
// who would otherwise not understand why nothing is reached, or would reach what is not meant.
//
// Process: berth-session. As: the user.
package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"berth/helper/internal/link/loginerror"

	"golang.org/x/sys/unix"
)

// network is what can be seen of the namespace that this process is in.
type network struct {
	inode  uint64
	others bool // it has an interface besides lo
	loUp   bool
}

// Check fails unless this process is in the network namespace whose inode the container's end of
// the session has told; 0: it has told none.
func Check(container uint64) error {
	n, err := own()
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	return n.compare(container)
}

const (
	hookMissing = "this gateway's PAM does not lead port forwarding into the container; please tell the administrator"
	noNetwork   = "this connection has no network of a container; connect again, and if that does not help tell the administrator"
	restarted   = "your container was started anew; connect again"
)

func (n network) compare(container uint64) error {
	if n.inode == container {
		return nil
	}
	apart := fmt.Errorf("session.forward: sshd's network namespace is %d, the container's is %d", n.inode, container)
	switch {
	case container == 0:
		return loginerror.New(hookMissing, errors.New("session.forward: the container's berth-guest does not say which its network namespace is; run `berth up`"))
	case n.others:
		return loginerror.New(hookMissing, fmt.Errorf("%w: this is the host's: pam_berth.so has not acted; is the line "+
			"`session required pam_berth.so container` missing in PAM's stack for sshd? Run `berth check`", apart))
	case n.loUp:
		return loginerror.New(restarted, fmt.Errorf("%w: the connection is older than the container's last start", apart))
	}
	return loginerror.New(noNetwork, fmt.Errorf("%w: this one is empty: the line `session required pam_berth.so container` is missing in PAM's stack for sshd, "+
		"or it found no container when the connection was made; then its own line in the log says why", apart))
}

func own() (network, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return network{}, err
	}
	// A line for each interface, behind two of headings. /sys shows those of the host.
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return network{}, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return network{}, err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo)
	}
	if err != nil {
		return network{}, err
	}
	return network{inode: st.Ino, others: bytes.Count(text, []byte("\n")) > 3, loUp: lo.Uint16()&unix.IFF_UP != 0}, nil
}
