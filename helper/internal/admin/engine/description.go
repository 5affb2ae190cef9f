// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"strings"

	"berth/helper/internal/admin/mounts"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// description is a container in the engine's API: an existing one, or one to be made.
type description struct {
	config *container.Config
	host   *container.HostConfig
	mounts []mount.Mount
	image  string // its id
	err    error  // what kept it from being described
}

// describe returns the policy's container in the API's terms.
func describe(p policy.Policy) (description, error) {
	d := description{config: &container.Config{}, host: &container.HostConfig{}}
	for _, s := range settings {
		if s.apply != nil {
			s.apply(p, &d)
		}
	}
	return d, d.err
}

// differences returns the settings that differ, sorted.
func differences(have, want description) []Difference {
	var all []Difference
	for _, s := range settings {
		if s.read == nil {
			continue
		}
		if is, should := s.read(have), s.read(want); is != should {
			all = append(all, Difference{Key: s.name, Have: is, Want: should})
		}
	}
	slices.SortFunc(all, func(a, b Difference) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// RunCommand is the `docker run` that makes the same container, quoted for a shell.
func RunCommand(p policy.Policy) string {
	argv := []string{"docker", "run", "--detach"}
	for _, s := range settings {
		if s.flags != nil {
			argv = append(argv, s.flags(p)...)
		}
	}
	argv = append(argv, p.Container.Image, command(p))
	for i, word := range argv {
		argv[i] = shellQuote(word)
	}
	return strings.Join(argv, " ")
}

// plainCharacters need no quotes in a shell.
const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%"

// shellQuote quotes word for a shell, if it needs that.
func shellQuote(word string) string {
	if word != "" && strings.Trim(word, plainCharacters) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// command is what the container's main process does.
func command(p policy.Policy) string {
	if p.Transport == policy.Exec {
		return "idle"
	}
	return "serve"
}

// bindMounts are those that the transport needs, and the policy's own.
func bindMounts(p policy.Policy) []mount.Mount {
	own := []policy.Mount{{Source: p.Sources.Guest, Target: paths.Guest, ReadOnly: true}}
	if p.Transport != policy.Direct {
		own = append(own, policy.Mount{Source: p.Sources.Lifeline, Target: paths.Lifeline})
	}
	own = append(own, policy.Mount{Source: p.Sources.Serve, Target: paths.Serve},
		policy.Mount{Source: p.Sources.Names, Target: paths.Names, ReadOnly: true})
	for i := range own {
		own[i].Propagation = policy.Private
	}
	var list []mount.Mount
	for _, m := range append(own, p.Container.Mounts...) {
		options := mount.BindOptions{Propagation: mount.Propagation(mounts.Propagation(m))}
		list = append(list, mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, BindOptions: &options})
	}
	return list
}
