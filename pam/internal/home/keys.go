// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// makeKeys makes .ssh and an empty authorized_keys in the directory home, and
// leaves alone what is there. With an owner it gives both away; without, the
// process is the user.
func makeKeys(home int, owner *Request) error {
	err := unix.Mkdirat(home, ".ssh", 0o700)
	fresh := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf(".ssh: %w", err)
	}
	ssh, err := openDir(home, ".ssh")
	if err != nil {
		return err
	}
	defer unix.Close(ssh)
	keys, err := unix.Openat(ssh, "authorized_keys", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, unix.EEXIST):
	case err != nil:
		return fmt.Errorf("authorized_keys: %w", err)
	default:
		defer unix.Close(keys)
		if owner != nil {
			if err := give(keys, *owner, 0o600); err != nil {
				return fmt.Errorf("authorized_keys: %w", err)
			}
		}
	}
	// The skeleton may have brought a .ssh of its own, with its own mode.
	if owner != nil && fresh {
		return give(ssh, *owner, 0o700)
	}
	return nil
}

// keysAsUser does the same in a home that exists, and in which she may have
// planted anything: as herself, for good, so that the kernel judges each step
// by her rights.
func keysAsUser(r Request) error {
	if err := syscall.Setgroups([]int{r.GID}); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setresgid(r.GID, r.GID, r.GID); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	if err := syscall.Setresuid(r.UID, r.UID, r.UID); err != nil {
		return os.NewSyscallError("setresuid", err)
	}
	if syscall.Setuid(0) == nil {
		return errors.New("root came back")
	}
	home, err := unix.Open(r.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: r.Path, Err: err}
	}
	defer unix.Close(home)
	if err := makeKeys(home, nil); err != nil {
		return fmt.Errorf("keys in %s: %w", r.Path, err)
	}
	return nil
}
