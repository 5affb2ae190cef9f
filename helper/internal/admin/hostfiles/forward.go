// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/helper/internal/policy"
)

// ForwardingFile is there while somebody's connections may forward ports.
func (d Dirs) ForwardingFile() string {
	return filepath.Join(d.State, filepath.Base(policy.ForwardingFile))
}

// MarkForwarding notes for pam_berth.so whether somebody may forward ports. It must be noted before sshd allows that,
// and stay until sshd does not.
func (d Dirs) MarkForwarding(may bool) error {
	var err error
	if may {
		if err = makeSharedDir(d.State); err == nil {
			err = replaceFile(d.ForwardingFile(), nil)
		}
	} else if err = os.Remove(d.ForwardingFile()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("forwarding: %w", err)
	}
	return nil
}

// WrittenDropIn is a copy of the drop-in of sshd's as berth wrote it last.
func (d Dirs) WrittenDropIn() string { return filepath.Join(d.State, "installed", "50-berth.conf") }
