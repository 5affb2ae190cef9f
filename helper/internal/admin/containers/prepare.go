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
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/record"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
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
	// Logins of one user wait for each other; those of others do not know of it.
	wait := h.Dirs.NewWait(p.Container.Timeout)
	lock, err := wait.LockUser(ctx, uid)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Once more: what somebody else has decided meanwhile may be newer.
	if p, err = h.decide(uid); err != nil {
		return err
	}
	c, err := h.container(p)
	if err != nil {
		return err
	}
	if p.Mode == policy.PerUser {
		if err := h.Dirs.PrepareUser(p, uid); err != nil {
			return err
		}
	}
	if err := h.Dirs.LinkUser(strconv.FormatUint(uint64(uid), 10), p); err != nil {
		return err
	}
	start := h.startShared
	if p.Mode == policy.PerUser {
		start = h.makeUser
	}
	if err := start(ctx, c, wait); err != nil {
		return fmt.Errorf("%s: %w", p.Container.Name, err)
	}
	if _, err := os.Lstat(filepath.Join(h.Dirs.Dir(p), paths.Unsettled)); err == nil {
		c.Err = io.Discard // what cannot be had on this host `berth up` has said
		return c.Settle()
	}
	return nil
}

// startShared starts a container that has ended, if container.heal allows it. PAM calls this before it looks for the
// container's network; a session by exec would start the container too late for that.
func (h Host) startShared(ctx context.Context, c Container, wait hostfiles.Wait) error {
	if _, err := c.Keeper.Count(); err == nil || !c.Policy.Container.Heal {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, wait.End())
	defer cancel()
	health, err := c.Engine.Health(ctx, c.name())
	if err == nil && health.Status != "running" && health.Status != "restarting" {
		err = c.Engine.Start(ctx, c.name())
	}
	if err != nil {
		return err
	}
	for {
		_, err := c.Keeper.Count()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollInterval):
		}
	}
}

// makeUser makes the container of one user, unless it serves.
func (h Host) makeUser(ctx context.Context, c Container, wait hostfiles.Wait) error {
	if checkServer(c.Socket) == nil {
		return nil
	}
	if back, err := comesBack(ctx, c, wait); back || err != nil {
		return err
	}
	// Before it is this login's turn: a file system that is silent holds up nobody else.
	for _, m := range c.Policy.Container.Mounts {
		if err := hostfiles.CheckSource(m.Source); err != nil {
			return fmt.Errorf("container.mount: %w", err)
		}
	}
	turn, err := wait.Turn(ctx)
	if err != nil {
		return err
	}
	defer turn.End()
	ctx, cancel := context.WithDeadline(ctx, wait.End())
	defer cancel()
	for err = errEnded; errors.Is(err, errEnded) && ctx.Err() == nil; {
		if cerr := h.Engine.CreateUser(ctx, c.Policy); cerr != nil {
			return cerr
		}
		err = awaitServer(ctx, c)
	}
	if err == nil {
		turn.Made()
	}
	return err
}

// restartTime is how long a container that has crashed may take until it serves again.
const restartTime = time.Second

// comesBack waits for a container that serves soon: the engine starts it again. It reports false for one that
// is to be made anew. One that is only slow is neither: there may be sessions in it.
func comesBack(ctx context.Context, c Container, wait hostfiles.Wait) (bool, error) {
	ctx, cancel := context.WithDeadline(ctx, wait.End())
	defer cancel()
	for end := time.Now().Add(restartTime); ; {
		served := checkServer(c.Socket)
		if served == nil {
			return true, nil
		}
		health, err := c.Engine.Health(ctx, c.name())
		switch {
		case errors.Is(err, loginerror.ErrNoContainer):
			return false, nil
		case err != nil:
			return false, err
		case health.Status == "paused":
			return false, loginerror.ErrPaused
		case health.Status != "running" && health.Status != "restarting":
			return false, nil
		case nobodyListens(served) && time.Now().After(end):
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("is %s, and does not answer: %w", health.Status, served)
		case <-time.After(pollInterval):
		}
	}
}

func nobodyListens(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED)
}

// errEnded is a container that does not run, although the engine has said that it has started it.
var errEnded = errors.New("the container has ended at once")

// healthInterval is the pause between two questions to the engine while a new container does not serve.
const healthInterval = 250 * time.Millisecond

// awaitServer waits until the server of a new container answers.
func awaitServer(ctx context.Context, c Container) error {
	for asked := time.Now(); ; {
		err := checkServer(c.Socket)
		if err == nil || errors.Is(err, control.ErrRemapped) {
			return err
		}
		if time.Since(asked) > healthInterval {
			asked = time.Now()
			if health, err := c.Engine.Health(ctx, c.name()); err == nil && (health.Status == "exited" || health.Status == "created") {
				return errEnded
			}
		}
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			health, _ := c.Engine.Health(ctx, c.name())
			return fmt.Errorf("is %s, and serves no sessions: %w: the last line of its log: %s", health.Status, err, health.LastLog)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
