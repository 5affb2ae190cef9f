// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// profileTable is the table whose tables are the profiles.
const profileTable = "profile"

var (
	profileName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`) })
	// accountName is generous: directory servers have names that useradd(8) has not.
	accountName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[^\s:,/\x00-\x1f\x7f-][^\s:,/\x00-\x1f\x7f]{0,127}$`)
	})
)

func checkNames(v any) ([]string, error) {
	list, ok := stringList(v)
	if !ok {
		return nil, errors.New("must be a list of strings")
	}
	for _, name := range list {
		if !accountName().MatchString(name) {
			return nil, errors.New("must hold names of users or groups")
		}
	}
	return list, nil
}

// showList shows an empty list as such.
func showList(names []string) any { return append([]string{}, names...) }

// profileNames lists the profiles in the order of the file, which counts.
func profileNames(meta toml.MetaData) []string {
	var names []string
	for _, k := range meta.Keys() {
		if len(k) > 1 && k[0] == profileTable && !slices.Contains(names, k[1]) {
			names = append(names, k[1])
		}
	}
	return names
}

// profiles reads [profile.NAME] tables, each on top of the base.
func (r *reader) profiles(base Policy, content any, names []string) []Policy {
	if content == nil {
		return nil
	}
	tables, ok := content.(map[string]any)
	if !ok {
		r.report(profileTable, "must be [profile.NAME] tables")
		return nil
	}
	var all []Policy
	for _, name := range names {
		prefix := profileTable + "." + name
		tree, ok := tables[name].(map[string]any)
		switch {
		case !ok:
			r.report(prefix, "must be a table")
			continue
		case !profileName().MatchString(name) || name == BaseProfile:
			r.report(prefix, "must be called by at most 32 of a-z, 0-9, - and _, and not "+BaseProfile)
			continue
		}
		p := base
		p.Profile, p.Groups, p.Members, p.Renamed = name, nil, nil, nil
		p.Container.Name = base.Container.Name + "-" + name
		r.apply(&p, tree, profileKeys, prefix+".")
		p.Sources.Serve = p.Dir()
		all = append(all, p)
	}
	return all
}

// adoptMode gives the policy its mode's defaults, if it was another mode before.
func (p *Policy) adoptMode(before string) {
	if p.Mode == before {
		return
	}
	p.Container.Mounts, p.Container.Restart, p.Container.PTYMax = defaultMounts, defaultRestart, defaultPTYMax
	if p.Mode == PerUser {
		p.Container.Mounts = []Mount{{Source: "%h", Target: "%h"}}
		// A crash brings the container back, and an idle end does not.
		p.Container.Restart = "on-failure"
		// All containers share the kernel's 3,072 (kernel.pty.max).
		p.Container.PTYMax = 128
	}
}

// settleTransport: a container of one's own has one way in.
func (p *Policy) settleTransport() {
	if p.Mode == PerUser && p.Transport == Auto {
		p.Transport = Direct
	}
}

// modeConflicts reports what the mode does not allow.
func (p Policy) modeConflicts(report func(key, text string)) {
	if p.Mode != PerUser {
		for _, m := range p.Container.Mounts {
			if strings.Contains(m.Source+m.Target, "%") {
				report("container.mount", `has %u, %h, %U or %G, which only mode = "user" has a meaning for`)
			}
		}
		return
	}
	if p.Transport == Exec {
		report("mode", `may be "user" with transport direct or auto, and not with exec: a login by exec would need a right to start containers`)
	}
	if !p.Container.ReadOnly {
		report("container.read_only", `must be true with mode = "user": such a container is removed when it is idle, and what was written with it`)
	}
	if p.Container.Restart != "on-failure" {
		report("container.restart", `must be "on-failure" with mode = "user": a container that has ended because it was idle stays away`)
	}
	for _, m := range p.Container.Mounts {
		if m.Source == "/home" {
			report("container.mount", `/home holds the homes of others, too; with mode = "user" the source is %h`)
		}
	}
}

// conflicts reports profiles that are in each other's way.
func (c Config) conflicts(report func(key, text string)) {
	var taken []string // groups and users of the profiles so far
	owners := map[string]string{c.Base.Container.Name: "what stands outside of the profiles"}
	for _, p := range c.Profiles {
		prefix := profileTable + "." + p.Profile
		var own []string
		for _, g := range p.Groups {
			own = append(own, "group "+g)
		}
		own = append(own, p.Members...)
		switch {
		case len(own) == 0:
			report(prefix, "has neither groups nor users, so nobody gets it")
		case !slices.ContainsFunc(own, func(who string) bool { return !slices.Contains(taken, who) }):
			report(prefix, "is never reached: profiles before it have all of its groups and users")
		}
		taken = append(taken, own...)
		if owner, found := owners[p.Container.Name]; found {
			report(prefix+".container.name", "is the name that the container of "+owner+" has")
		}
		owners[p.Container.Name] = "profile " + p.Profile
	}
	for _, p := range c.All() {
		for _, q := range c.All() {
			rest, found := strings.CutPrefix(q.Container.Name, p.Container.Name+"-")
			if p.Mode == PerUser && found && strings.Trim(rest, "0123456789") == "" {
				report(profileTable+"."+q.Profile+".container.name", "may be the name of a user's container of profile "+p.Profile)
			}
		}
	}
}

// Person is whom a container of mode user is for.
type Person struct {
	Name     string
	UID, GID uint32
	Home     string
}

// places are what may stand in a mount of mode user, each with what it is replaced by.
func (u Person) places() *strings.Replacer {
	return strings.NewReplacer("%%", "%", "%u", u.Name, "%h", u.Home, "%U", fmt.Sprint(u.UID), "%G", fmt.Sprint(u.GID))
}

// hasPlaces reports whether path has only such places as places replaces.
func hasPlaces(path string) bool {
	return !strings.Contains(strings.NewReplacer("%%", "", "%u", "", "%h", "", "%U", "", "%G", "").Replace(path), "%")
}

// ForUser is the policy of mode user for one person: the container's name, and the mounts
// with the person's names in them, which must be allowed as they are then.
func (p Policy) ForUser(u Person) (Policy, error) {
	if !accountName().MatchString(u.Name) {
		return p, fmt.Errorf("%q is no name that a path may hold", u.Name)
	}
	p.Person = u
	p.Container.Hostname = p.Container.HostName()
	p.Container.Name += fmt.Sprintf("-%d", u.UID)
	var mounts []Mount
	for _, m := range p.Container.Mounts {
		m.Source, m.Target = u.places().Replace(m.Source), u.places().Replace(m.Target)
		if err := checkMount(m); err != nil {
			return p, fmt.Errorf("container.mount: %s at %s: %w", m.Source, m.Target, err)
		}
		if m.Source == "/home" || m.Source != u.Home && covers(m.Source, u.Home) {
			return p, fmt.Errorf("container.mount: %s holds the homes of others, too: the home of %s is %s", m.Source, u.Name, u.Home)
		}
		mounts = append(mounts, m)
	}
	p.Container.Mounts = mounts
	return p, nil
}
