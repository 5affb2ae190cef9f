// SPDX-License-Identifier: Apache-2.0

package containers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/hostfiles"
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

// Garbage finds the containers of mode user that have ended, and what is there of accounts that are gone, or
// of the containers of users who have not come for container.keep. Of a user who is logged in it finds nothing.
func (h Host) Garbage(ctx context.Context, accounts Accounts, now time.Time) ([]Garbage, error) {
	found, err := h.Engine.ListUsers(ctx, h.Dirs.ProfilesSource())
	if err != nil {
		return nil, err
	}
	traces, err := h.Dirs.Traces(slices.DeleteFunc(h.Config.All(), func(p policy.Policy) bool { return p.Mode != policy.Shared }))
	if err != nil {
		return nil, err
	}
	open, err := h.Sessions()
	if err != nil {
		return nil, err
	}
	users := map[uint32]*belongings{}
	of := func(uid uint32) *belongings {
		if users[uid] == nil {
			users[uid] = &belongings{Host: h, accounts: accounts, now: now, uid: uid}
		}
		return users[uid]
	}
	for _, c := range found {
		of(c.UID).containers = append(of(c.UID).containers, c)
	}
	for _, t := range traces {
		of(t.UID).traces = append(of(t.UID).traces, t)
	}
	for _, s := range open {
		of(s.UID).inside = true
	}
	var all []Garbage
	for _, uid := range slices.Sorted(maps.Keys(users)) {
		garbage, err := users[uid].garbage()
		if err != nil {
			return nil, err
		}
		all = append(all, garbage...)
	}
	return all, nil
}

// belongings are what there is of one user.
type belongings struct {
	Host
	accounts   Accounts
	now        time.Time
	uid        uint32
	containers []engine.UserContainer
	traces     []hostfiles.Trace
	inside     bool // a session is open
}

func (b *belongings) garbage() (all []Garbage, err error) {
	why, gone, err := b.why()
	if err != nil || b.inside {
		return nil, err
	}
	for _, c := range b.containers {
		dir := b.Dirs.ContainerDir(c.Profile, c.Name)
		inUse, release := hostfiles.InUse(dir)
		release()
		reason := why
		if ended := c.Status == "exited" || c.Status == "dead" || c.Status == "created"; ended && why == "" {
			reason = "it has ended"
		}
		switch {
		case inUse, !gone && isAlive(c.Status):
			// Nothing at all is touched: an idle end comes first.
			return nil, nil
		case reason != "":
			all = append(all, Garbage{"container " + c.Name, reason, func(ctx context.Context) error { return b.removeContainer(ctx, c) }})
		}
	}
	for _, t := range b.traces {
		if why == "" || t.Account && !gone {
			continue
		}
		inUse, release := hostfiles.InUse(t.Path)
		release()
		if inUse {
			return nil, nil
		}
		all = append(all, Garbage{t.Path, why, func(context.Context) error { return b.removeTrace(t) }})
	}
	return all, nil
}

func isAlive(status string) bool {
	return status == "running" || status == "restarting" || status == "paused"
}

// why says why nothing of the user's is needed; "": it is. Gone is an account that is gone.
func (b *belongings) why() (why string, gone bool, err error) {
	exists, err := b.accounts(b.uid)
	if err != nil {
		return "", false, err
	}
	if !exists {
		return "the account is gone", true, nil
	}
	p, err := b.decide(b.uid)
	if seen := b.Dirs.LastSeen(b.uid); err == nil && p.Mode == policy.PerUser && b.now.Sub(seen) > p.Container.Keep {
		return "not seen since " + seen.Format(time.DateOnly), false, nil
	}
	return "", false, nil
}

// locked does what is due to a user who neither logs in now nor has come meanwhile, with dir's lease.
func (b *belongings) locked(dir string, do func(why string) error) error {
	lock, err := b.Dirs.TryLockUser(b.uid)
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	why, _, err := b.why()
	if err != nil {
		return err
	}
	if why != "" {
		// Whoever waits for it sees that it is gone, and makes another.
		defer os.Remove(lock.Name())
	}
	inUse, release := hostfiles.InUse(dir)
	defer release()
	if inUse {
		return nil
	}
	return do(why)
}

func (b *belongings) removeContainer(ctx context.Context, c engine.UserContainer) error {
	return b.locked(b.Dirs.ContainerDir(c.Profile, c.Name), func(why string) error {
		health, err := b.Engine.Health(ctx, c.Name)
		if err == nil && why == "" && isAlive(health.Status) {
			return nil // it has been made anew
		}
		return b.Engine.RemoveNow(ctx, c.Name)
	})
}

func (b *belongings) removeTrace(t hostfiles.Trace) error {
	return b.locked(t.Path, func(why string) error {
		if why == "" {
			return nil
		}
		return os.RemoveAll(t.Path)
	})
}
