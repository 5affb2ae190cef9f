// SPDX-License-Identifier: Apache-2.0

package containers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"berth/helper/internal/policy"
)

// Garbage is something of a user's that nobody needs any more.
type Garbage struct {
	What, Why string
	remove    func(context.Context) error
}

// Remove removes it.
func (g Garbage) Remove(ctx context.Context) error {
	if err := g.remove(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", g.What, err)
	}
	return nil
}

// Accounts says whether a uid still has an account.
type Accounts func(uid uint32) (bool, error)

// Garbage finds the containers of mode user that have ended, and all that is there of accounts
// that are gone, or of users of mode user who have not come for container.keep.
func (h Host) Garbage(ctx context.Context, accounts Accounts, now time.Time) ([]Garbage, error) {
	found, err := h.Engine.ListUsers(ctx, h.Dirs.ProfilesSource())
	if err != nil {
		return nil, err
	}
	traces, err := h.Dirs.Traces(slices.DeleteFunc(h.Config.All(), func(p policy.Policy) bool { return p.Mode != policy.Shared }))
	if err != nil {
		return nil, err
	}
	uids := map[uint32]bool{}
	for _, c := range found {
		uids[c.UID] = true
	}
	for _, t := range traces {
		uids[t.UID] = true
	}
	why := map[uint32]string{}
	for uid := range uids {
		if why[uid], err = h.whyGarbage(uid, accounts, now); err != nil {
			return nil, err
		}
	}
	var all []Garbage
	for _, c := range found {
		reason := why[c.UID]
		ended := reason == "" && (c.Status == "exited" || c.Status == "dead" || c.Status == "created")
		if ended {
			reason = "it has ended"
		}
		if reason != "" {
			all = append(all, Garbage{"container " + c.Name, reason, func(ctx context.Context) error { return h.removeContainer(ctx, c.UID, c.Name, ended) }})
		}
	}
	for _, t := range traces {
		if reason := why[t.UID]; reason != "" {
			all = append(all, Garbage{t.Path, reason, func(context.Context) error { return os.RemoveAll(t.Path) }})
		}
	}
	return all, nil
}

// whyGarbage says why nothing of the user's is needed; nothing: it is.
func (h Host) whyGarbage(uid uint32, accounts Accounts, now time.Time) (string, error) {
	exists, err := accounts(uid)
	if err != nil {
		return "", err
	}
	if !exists {
		return "the account is gone", nil
	}
	p, err := h.decide(uid)
	if seen := h.Dirs.LastSeen(uid); err == nil && p.Mode == policy.PerUser && now.Sub(seen) > p.Container.Keep {
		return "not seen since " + seen.Format(time.DateOnly), nil
	}
	return "", nil
}

// removeContainer removes a user's container; one that was found ended may run again by now.
func (h Host) removeContainer(ctx context.Context, uid uint32, name string, ended bool) error {
	lock, err := h.Dirs.LockUser(ctx, uid)
	if err != nil {
		return err
	}
	defer lock.Close()
	if health, err := h.Engine.Health(ctx, name); err == nil && ended && health.Status == "running" {
		return nil
	}
	return h.Engine.RemoveNow(ctx, name)
}
