// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"berth/helper/internal/link/threads"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// ForwardingFile exists while some user may forward ports.
func (d Dirs) ForwardingFile() string {
	return filepath.Join(d.State, filepath.Base(policy.ForwardingFile))
}

// byName is in that file if profiles have users by their names.
const byName = "users\n"

// MarkForwarding tells pam_berth.so whether some user may forward ports, by c or by what else sshd is told, and whether
// that depends on users' names: by a file, which must be there before sshd allows it and until sshd no longer does.
func (d Dirs) MarkForwarding(c policy.Config, beside bool) error {
	var err error
	if c.ForwardsPorts() || beside {
		var text []byte
		if slices.ContainsFunc(c.Profiles, func(p policy.Policy) bool { return len(p.Members) > 0 }) {
			text = []byte(byName)
		}
		// An error does no harm: it only saves logins the time to make one of their own.
		_ = makeEmptyNetwork(d.EmptyNetwork)
		if err = makeSharedDir(d.State); err == nil {
			err = ReplaceFile(d.ForwardingFile(), text)
		}
	} else if err = os.Remove(d.ForwardingFile()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("forwarding: %w", err)
	}
	return nil
}

// makeEmptyNetwork mounts at path a network namespace without a network, unless one is there.
func makeEmptyNetwork(path string) error {
	if err := makeSharedDir(filepath.Dir(path)); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return err
	}
	defer file.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &st); err != nil || st.Type == unix.NSFS_MAGIC {
		return err
	}
	return threads.Apart(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
}

// WrittenDropIn is a copy of sshd's drop-in as berth wrote it last.
func (d Dirs) WrittenDropIn() string { return filepath.Join(d.State, "installed", "50-berth.conf") }
