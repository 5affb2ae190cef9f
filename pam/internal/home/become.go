// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"os"
	"syscall"
)

// become turns the process into the user, for good, so that the kernel judges
// each further step by her rights.
func (m *maker) become() error {
	if m.own {
		return nil
	}
	groups := m.Groups
	if len(groups) == 0 {
		groups = []int{m.GID}
	}
	if err := syscall.Setgroups(groups); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setresgid(m.GID, m.GID, m.GID); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	if err := syscall.Setresuid(m.UID, m.UID, m.UID); err != nil {
		return os.NewSyscallError("setresuid", err)
	}
	if syscall.Setuid(0) == nil {
		return errors.New("root came back")
	}
	m.own = true
	return nil
}
