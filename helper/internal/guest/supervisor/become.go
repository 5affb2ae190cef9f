// SPDX-License-Identifier: Apache-2.0

// Process: berth-guest. As: container root when becomeUser is called, the user
// when it returns.

package supervisor

import (
	"errors"
	"fmt"
	"syscall"

	"berth/helper/internal/link/lifeline"

	"golang.org/x/sys/unix"
)

// noNewPrivsInherited is whether the program was started with no_new_privs, which all its
// threads have then (prctl(2)): containers of berth's have it.
var noNewPrivsInherited = func() bool {
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return err == nil && set == 1
}()

// becomeUser turns this process, every thread of it, into the user that the kernel
// reported, and proves that there is no way back.
//
// ORDER MATTERS: groups need root's right to be set, the uid takes it away.
// Guarded by TestSessionHoldsNoPrivilege (test/login).
func becomeUser(peer lifeline.Peer) error {
	groups := make([]int, len(peer.Groups))
	for i, gid := range peer.Groups {
		groups[i] = int(gid)
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(int(peer.GID), int(peer.GID), int(peer.GID)); err != nil {
		return fmt.Errorf("setresgid %d: %w", peer.GID, err)
	}
	if err := syscall.Setresuid(int(peer.UID), int(peer.UID), int(peer.UID)); err != nil {
		return fmt.Errorf("setresuid %d: %w", peer.UID, err)
	}
	// Credentials are a thread's own in Linux; a static Go program can set
	// them in all (syscall.AllThreadsSyscall).
	if !noNewPrivsInherited {
		if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
			return fmt.Errorf("no_new_privs: %w", errno)
		}
	}
	// Whatever fs.suid_dumpable says: the user must not reach into this process, which
	// holds the lifeline, by ptrace(2) or /proc.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("undumpable: %w", err)
	}
	return verifyUser(peer)
}

// verifyUser tries to take the privilege back (openssh uidswap.c does the same).
func verifyUser(peer lifeline.Peer) error {
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	uid, gid := int(peer.UID), int(peer.GID)
	if ruid != uid || euid != uid || suid != uid || rgid != gid || egid != gid || sgid != gid {
		return errors.New("ids were not set")
	}
	// Of this thread; the runtime's calls have seen to it that all are alike.
	_, _, uidErrno := syscall.RawSyscall(unix.SYS_SETUID, 0, 0, 0)
	_, _, gidErrno := syscall.RawSyscall(unix.SYS_SETGID, 0, 0, 0)
	if uidErrno == 0 || gidErrno == 0 {
		return errors.New("root came back")
	}
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || set != 1 {
		return errors.New("no_new_privs is not set")
	}
	var data [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for _, d := range data {
		if d.Effective|d.Permitted != 0 {
			return errors.New("capabilities were left")
		}
	}
	return nil
}
