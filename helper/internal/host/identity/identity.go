// SPDX-License-Identifier: Apache-2.0

// Package identity says who runs this process: the ids by the kernel, their
// names by a directory. Arguments and environment have no say.
package identity

import (
	"errors"
	"fmt"
	"os"

	"berth/helper/internal/link/rules"
)

// ErrUnknown is a uid that no account has.
var ErrUnknown = errors.New("no such account")

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

// Has reports whether the account is in group gid.
func (a Account) Has(gid uint32) bool { _, in := a.Groups[gid]; return in }

// Rule says which accounts may log in.
type Rule struct {
	UIDMin, UIDMax uint32
	EngineGroup    uint32 // members of it hold root on the host
}

// NoGroup is no group's id ((gid_t)-1, credentials(7)).
const NoGroup = 1<<32 - 1

// Check returns why account must not log in, or nil. The text is for the
// person at the terminal.
func (r Rule) Check(a Account) error {
	switch {
	case a.UID == 0:
		return errors.New("root does not log in through this gateway")
	case a.UID < r.UIDMin, a.UID > r.UIDMax, rules.Impersonal(a.UID):
		return fmt.Errorf("the account %s (uid %d) is not one of this gateway's users", a.Name, a.UID)
	case a.Has(0):
		return fmt.Errorf("the account %s is in the group of root", a.Name)
	case a.Has(r.EngineGroup):
		return fmt.Errorf("the account %s is in the container engine's group, which is as good as root", a.Name)
	}
	return nil
}
