// SPDX-License-Identifier: Apache-2.0

// Package access says who may log in. berth-session asks it before it asks the
// container for anything, the container's server before it chooses a supervisor,
// and the supervisor before it becomes the user. It reads nothing: each gives the
// facts that it has.
package access

import (
	"errors"
	"fmt"
	"slices"

	"berth/helper/internal/link/loginerror"
)

// Overflow is what the kernel reports for ids that a user namespace does not map
// (user_namespaces(7)), and what most systems call nobody.
const Overflow = 65534

// Uids between these are no person's: systemd's dynamic users and nobody
// (https://systemd.io/UIDS-GIDS, 16-bit overflow included).
const (
	minImpersonalUID = 61184
	maxImpersonalUID = 65535
)

// maxUnrecordedUID is the last uid that needs no account. Above it are the ids that
// a user of the host may take on in a user namespace (subuid(5)).
const maxUnrecordedUID = 60000

// impersonal reports whether uid is no person's, whatever the configuration says.
func impersonal(uid uint32) bool { return uid >= minImpersonalUID && uid <= maxImpersonalUID }

// Limits are what the administrator decides.
type Limits struct {
	UIDMin, UIDMax uint32
	RootGroups     []uint32 // their members are as good as root: the engine's group
	Cover          Cover
}

// IDs are users and groups.
type IDs struct{ UIDs, GIDs []uint32 }

func (s IDs) has(uid uint32, gids []uint32) bool {
	return slices.Contains(s.UIDs, uid) || slices.ContainsFunc(gids, func(gid uint32) bool { return slices.Contains(s.GIDs, gid) })
}

// Cover is whom a profile is for.
type Cover struct {
	Closed bool // for those of Only alone
	Only   IDs
	Except IDs // they have another profile
}

// Caller is who wants to log in. Its ids are the kernel's word.
type Caller struct {
	UID, GID uint32
	Groups   []uint32 // supplementary; the primary one may be among them
	// HasAccount: PAM has recorded the uid's names, or the host's name service
	// knows them.
	HasAccount bool
	PID        int32  // in the container's pid namespace, where no process of the host has one
	Name       string // for the user's eyes; may be empty
}

// Check returns why the caller must not log in, a *loginerror.Refusal, or nil.
func Check(c Caller, limits Limits) error {
	groups := append([]uint32{c.GID}, c.Groups...)
	switch {
	case c.PID != 0:
		return c.refusal(fmt.Sprintf("the caller is in the container, pid %d", c.PID))
	case c.UID == 0:
		return c.refusal("root does not log in this way")
	case c.UID == Overflow, slices.Contains(groups, Overflow):
		return c.refusal(fmt.Sprintf("ids such as %d mean nothing here", Overflow))
	case c.UID < limits.UIDMin, c.UID > limits.UIDMax, impersonal(c.UID):
		return c.refusal("the uid is out of range")
	case slices.Contains(groups, 0):
		return c.refusal("it is in the group of root")
	case slices.ContainsFunc(groups, func(gid uint32) bool { return slices.Contains(limits.RootGroups, gid) }):
		return c.refusal("it is in the container engine's group, which is as good as root")
	case limits.Cover.Except.has(c.UID, groups), limits.Cover.Closed && !limits.Cover.Only.has(c.UID, groups):
		return loginerror.Deny("your account has another container by now: connect again", errors.New("it is not one of the profile's"))
	case c.UID > maxUnrecordedUID && !c.HasAccount:
		return c.refusal("the uid may be of a user namespace: PAM has recorded no names for it")
	}
	return nil
}

func (c Caller) refusal(reason string) error {
	account := "this account"
	if c.Name != "" {
		account = fmt.Sprintf("the account %s (uid %d)", c.Name, c.UID)
	}
	return loginerror.Deny(account+" is not one of this gateway's users: "+reason, errors.New(reason))
}
