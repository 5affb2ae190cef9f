// SPDX-License-Identifier: Apache-2.0

// Package netns finds out whether the ports that sshd forwards for this session end in the container.
// They do if pam_berth.so has moved sshd's process into the container's network namespace, which
// berth-session has inherited. It protects nothing, because sshd forwards without asking
// berth-session; it tells users and administrators why forwarding does not work.
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

// Check fails unless this process is in the network namespace with this inode, which the guest has
// sent; 0: it has sent none.
func Check(container uint64) error {
	n, err := own()
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	return n.compare(container)
}

const (
	hookMissing = "port forwarding is not set up correctly on this host; please tell the administrator"
	noNetwork   = "this connection is not in your container's network; connect again, and if that does not help tell the administrator"
	restarted   = "your container was restarted; connect again"
)

func (n network) compare(container uint64) error {
	if n.inode == container {
		return nil
	}
	apart := fmt.Errorf("session.forward: sshd's network namespace is %d, the container's is %d", n.inode, container)
	switch {
	case container == 0:
		return loginerror.New(hookMissing, errors.New("session.forward: the container's berth-guest is too old to name its network namespace; "+
			"run `berth up`"))
	case n.others:
		return loginerror.New(hookMissing, fmt.Errorf("%w: sshd's is the host's, so pam_berth.so has not acted: is the line "+
			"`session required pam_berth.so container` missing in PAM's stack for sshd? Run `berth check`", apart))
	case n.loUp:
		return loginerror.New(restarted, fmt.Errorf("%w: the connection is older than the container's last start", apart))
	}
	return loginerror.New(noNetwork, fmt.Errorf("%w: sshd's is empty: the line `session required pam_berth.so container` is missing in PAM's stack "+
		"for sshd, or it could not enter the container's network when the connection was made; then pam_berth has logged why", apart))
}

func own() (network, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return network{}, err
	}
	// A line for each interface, after two lines of headings. /sys would show the host's interfaces.
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
