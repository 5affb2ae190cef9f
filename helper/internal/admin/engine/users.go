// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/policy"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// The labels of berth's containers.
const (
	labelProfile = "berth.profile"
	labelMode    = "berth.mode"
	labelPolicy  = "berth.policy" // what it was made from: a hash of the policy
	labelUser    = "berth.user"   // in mode user
	labelUID     = "berth.uid"
	labelDir     = "berth.dir" // what it shares with the host: an engine may work for several
)

func labels(p policy.Policy) map[string]string {
	text, _ := json.Marshal(p.Container) // plain types: never fails
	hash := sha256.Sum256(text)
	all := map[string]string{labelProfile: p.Profile, labelMode: p.Mode, labelPolicy: hex.EncodeToString(hash[:8]), labelDir: p.Sources.Serve}
	if p.Mode == policy.PerUser {
		all[labelUser], all[labelUID] = p.Person.Name, strconv.FormatUint(uint64(p.Person.UID), 10)
	}
	return all
}

// UserContainer is the container of one user, by its labels.
type UserContainer struct {
	Name, Profile, User string
	UID                 uint32
	Status              string // running, exited, ... as the engine calls it
}

// ListUsers lists the containers of mode user that share a directory below profiles with their host, whatever
// state they are in.
func (e *Engine) ListUsers(ctx context.Context, profiles string) ([]UserContainer, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelMode+"="+policy.PerUser))})
	if err != nil {
		return nil, wrap("list the containers", err)
	}
	var all []UserContainer
	for _, c := range list {
		uid, err := strconv.ParseUint(c.Labels[labelUID], 10, 32)
		if err != nil || len(c.Names) == 0 || !strings.HasPrefix(c.Labels[labelDir], profiles+"/") {
			continue // another host's
		}
		all = append(all, UserContainer{Name: c.Names[0][1:], Profile: c.Labels[labelProfile], User: c.Labels[labelUser], UID: uint32(uid), Status: c.State})
	}
	return all, nil
}

// ErrForeign says that a container has the name, and is not the user's.
var ErrForeign = errors.New("a container of that name is there, and berth has not made it for this user")

// CreateUser makes and starts the container of mode user, in the place of one that has ended. It is for a
// caller who has seen that nobody serves there, and who is alone with that.
func (e *Engine) CreateUser(ctx context.Context, p policy.Policy) error {
	for {
		err := e.removeOwn(ctx, p)
		if err == nil {
			err = e.Create(ctx, p)
		}
		// Its predecessor may still be on its way out.
		if err == nil || !errdefs.IsConflict(err) || errors.Is(err, ErrForeign) {
			return err
		}
		if perr := pause(ctx); perr != nil {
			return errors.Join(err, perr)
		}
	}
}

// removeOwn removes what there is of the user's container.
func (e *Engine) removeOwn(ctx context.Context, p policy.Policy) error {
	have, err := e.api.ContainerInspect(ctx, p.Container.Name)
	if err != nil {
		if err = wrap("inspect the container", err); errors.Is(err, loginerror.ErrNoContainer) {
			return nil
		}
		return err
	}
	want := labels(p)
	if have.Config.Labels[labelMode] != policy.PerUser || have.Config.Labels[labelUID] != want[labelUID] {
		return fmt.Errorf("%s: %w", p.Container.Name, ErrForeign)
	}
	return e.RemoveNow(ctx, have.ID)
}

// RemoveNow removes a container, and kills it if it runs.
func (e *Engine) RemoveNow(ctx context.Context, name string) error {
	err := e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil {
		if err := wrap("remove the container", err); !errors.Is(err, loginerror.ErrNoContainer) {
			return err
		}
	}
	return nil
}
