// SPDX-License-Identifier: Apache-2.0

// Package identity says who runs this process: the ids by the kernel, their
// names by a directory. Arguments and environment have no say.
package identity

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/loginerror"
)

// ErrUnknown is a uid that no account has.
var ErrUnknown = loginerror.New("your account is not known on this host", errors.New("no such account"))

// errNoProcess is a host that has no process left for the user, to look the account up.
var errNoProcess = loginerror.New("this host has no further process for your session: see nproc in limits.conf(5); please tell the administrator", ErrUnknown)

// Unknown returns why uid's account was not found.
func Unknown(uid uint32, cause error) error {
	if errors.Is(cause, syscall.EAGAIN) {
		return fmt.Errorf("uid %d: %w: %w", uid, errNoProcess, cause)
	}
	return fmt.Errorf("uid %d: %w: %w", uid, ErrUnknown, cause)
}

// Account is the process's user. Groups holds every gid of the process, the
// primary one included, with its name where NSS knows one.
type Account struct {
	UID    uint32
	GID    uint32
	Name   string
	Gecos  string
	Home   string
	Shell  string
	Groups map[uint32]string
}

// Directory knows accounts and groups.
type Directory interface {
	// Account returns the account of uid, its Groups not filled in. Its error is
	// ErrUnknown for a uid that has none.
	Account(uid uint32) (Account, error)
	// GroupName returns "" for a group without a name: it has its number then,
	// in the container as on the host.
	GroupName(gid uint32) string
}

// Current looks up the account of getuid(2) and names the process's groups.
func Current(d Directory) (Account, error) {
	account, err := d.Account(uint32(os.Getuid()))
	if err != nil {
		return account, err
	}
	// The process's own gids, not the account's: they are what the kernel
	// checks, and what the other end of the lifeline will be told.
	account.GID = uint32(os.Getgid())
	gids, err := os.Getgroups()
	if err != nil {
		return account, fmt.Errorf("getgroups: %w", err)
	}
	account.Groups = map[uint32]string{}
	for _, gid := range append(gids, int(account.GID)) {
		account.Groups[uint32(gid)] = d.GroupName(uint32(gid))
	}
	return account, nil
}

// Caller is the account for package access.
func (a Account) Caller() access.Caller {
	return access.Caller{UID: a.UID, GID: a.GID, Groups: slices.Collect(maps.Keys(a.Groups)), HasAccount: true, Name: a.Name}
}

// NoGroup is no group's id ((gid_t)-1, credentials(7)).
const NoGroup = 1<<32 - 1
