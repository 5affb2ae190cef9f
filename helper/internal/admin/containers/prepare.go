// SPDX-License-Identifier: Apache-2.0

package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/link/access"
	"berth/helper/internal/link/drain"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/record"
	"berth/helper/internal/policy"
)

// decide returns the policy of a user: the profile, and in mode user the user's own container. It
// goes by the record that PAM has just made of what the name service says.
func (h Host) decide(uid uint32) (policy.Policy, error) {
	known, err := record.Read(h.Dirs.Names, uid)
	if err != nil {
		return policy.Policy{}, err
	}
	return h.PolicyOf(known, uid)
}

// PolicyOf returns the policy of a user who has these names.
func (h Host) PolicyOf(known record.Record, uid uint32) (policy.Policy, error) {
	p := h.Config.For(known.User, slices.Collect(maps.Values(known.Groups)))
	if p.Mode != policy.PerUser {
		return p, nil
	}
	return p.ForUser(policy.Person{Name: known.User, UID: uid, GID: known.GID, Home: known.Home})
}

// CheckUser returns why a login of the user would be refused now, or nil.
func (h Host) CheckUser(p policy.Policy, known record.Record, uid uint32) error {
	group, err := hostfiles.EngineGroup(p.Engine.Socket)
	if err != nil {
		return err
	}
	caller := access.Caller{UID: uid, GID: known.GID, Groups: slices.Collect(maps.Keys(known.Groups)), HasAccount: true, Name: known.User}
	if err := access.Check(caller, access.Limits{UIDMin: p.Users.UIDMin, UIDMax: p.Users.UIDMax, RootGroups: []uint32{group}}); err != nil {
		return err
	}
	return drain.Check(h.Dirs.DrainFile())
}

// Prepare does what only root can do for a user's session, before it begins: it notes which container is
// the user's, makes that container in mode user, and settles it.
func (h Host) Prepare(ctx context.Context, uid uint32) error {
	p, err := h.decide(uid)
	if err != nil {
		return err
	}
	if err := drain.Check(h.Dirs.DrainFile()); err != nil {
		return err
	}
	c, err := h.container(p)
	if err != nil {
		return err
	}
	if p.Mode == policy.PerUser {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Container.Timeout)
		defer cancel()
		if err := h.Dirs.PrepareUser(p, uid); err != nil {
			return err
		}
	}
	if err := h.Dirs.LinkUser(strconv.FormatUint(uint64(uid), 10), p); err != nil {
		return err
	}
	if p.Mode == policy.PerUser {
		if err := h.makeUser(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", p.Container.Name, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(h.Dirs.Dir(p), paths.Unsettled)); err == nil {
		c.Err = io.Discard // what cannot be had on this host `berth up` has said
		return c.Settle()
	}
	return nil
}

// makeUser makes the container of one user, unless it serves. Logins of one user wait for
// each other; those of others do not know of it.
func (h Host) makeUser(ctx context.Context, c Container) error {
	if checkServer(c.Socket) == nil {
		return nil
	}
	lock, err := h.Dirs.LockUser(ctx, c.Policy.Person.UID)
	if err != nil {
		return err
	}
	defer lock.Close()
	if comesBack(ctx, c) {
		return nil
	}
	for _, m := range c.Policy.Container.Mounts {
		if err := hostfiles.CheckSource(m.Source); err != nil {
			return fmt.Errorf("container.mount: %w", err)
		}
	}
	if err := h.Engine.CreateUser(ctx, c.Policy); err != nil {
		return err
	}
	return awaitServer(ctx, c)
}

// restartTime is how long a container that has crashed may take until it serves again.
const restartTime = time.Second

// comesBack reports whether the container serves, or does soon: somebody else has just made it, or the
// engine starts it again.
func comesBack(ctx context.Context, c Container) bool {
	for end := time.Now().Add(restartTime); ; {
		if checkServer(c.Socket) == nil {
			return true
		}
		health, err := c.Engine.Health(ctx, c.name())
		alive := err == nil && (health.Status == "running" || health.Status == "restarting")
		if !alive || time.Now().After(end) || ctx.Err() != nil {
			return false
		}
		time.Sleep(pollInterval)
	}
}

// awaitServer waits until the server of a new container answers.
func awaitServer(ctx context.Context, c Container) error {
	for {
		err := checkServer(c.Socket)
		if err == nil || errors.Is(err, control.ErrRemapped) {
			return err
		}
		select {
		case <-ctx.Done():
			health, _ := c.Engine.Health(context.WithoutCancel(ctx), c.name())
			return fmt.Errorf("is %s, and serves no sessions: %w: the last line of its log: %s", health.Status, err, health.LastLog)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
