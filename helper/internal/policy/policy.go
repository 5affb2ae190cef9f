// SPDX-License-Identifier: Apache-2.0

// Package policy is berth.toml: what an administrator decides. It is strict,
// reports every problem at once, and knows no engine. The manual page
// berth.toml(5) is its reference.
package policy

import (
	"path/filepath"
	"slices"
	"time"

	"berth/helper/internal/link/paths"
)

// Path is where the configuration is. No argument or variable of berth-session
// moves it.
const Path = "/etc/berth/berth.toml"

// What a login finds on the host, whatever the policy says: no byte is read to
// find it. `berth up` and `berth prepare` make them agree with the policy.
const (
	EngineLink  = "/etc/berth/engine.sock"
	StateDir    = "/var/lib/berth"
	ProfilesDir = StateDir + "/profiles" // PROFILE/CONTAINER: what a container shares with the host, its sockets for example
	UsersDir    = StateDir + "/users"    // a link for each uid: which container
	NamesDir    = StateDir + "/names"    // what pam_berth.so records
	LifelineDir = StateDir + "/lifeline" // the sockets of transport exec's sessions
	DrainFile   = StateDir + "/" + paths.Drain
	// ForwardingFile exists while some user may forward ports: pam_berth.so looks for it.
	ForwardingFile = StateDir + "/forwarding"
	// EmptyNetwork is a network namespace that pam_berth.so enters rather than make one.
	EmptyNetwork = "/run/berth/nowhere"
)

// BaseProfile is the name of the policy that stands outside of every [profile.NAME].
const BaseProfile = "default"

// AnyUser is the link of UsersDir for those who have none of their own: the base's
// container, if all share one.
const AnyUser = "any"

// The ways to the container.
const (
	Auto   = "auto"   // direct where the container serves sessions, else exec
	Direct = "direct" // by the socket that the container serves
	Exec   = "exec"   // by an exec of the engine's
)

// The modes.
const (
	Shared  = "shared" // one container for all users of a profile
	PerUser = "user"   // one for each user
)

// Config is a whole berth.toml.
type Config struct {
	Base     Policy
	Profiles []Policy // in the order of the file
}

// All lists the profiles in the order in which one is chosen, the base last.
func (c Config) All() []Policy { return append(slices.Clone(c.Profiles), c.Base) }

// Profile returns the profile called name.
func (c Config) Profile(name string) (Policy, bool) {
	for _, p := range c.All() {
		if p.Profile == name {
			return p, true
		}
	}
	return Policy{}, false
}

// For returns the profile of a user: the first that names them or one of their groups.
func (c Config) For(user string, groups []string) Policy {
	for _, p := range c.Profiles {
		if slices.Contains(p.Members, user) || slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(groups, g) }) {
			return p
		}
	}
	return c.Base
}

// Policy is what holds for the users of one profile.
type Policy struct {
	Profile   string
	Groups    []string // whose members it is for
	Members   []string // and for whom else
	Mode      string
	Transport string
	Engine    Engine
	Container Container
	Session   Session
	Users     Users
	Sources   Sources // no key of the file
	Person    Person  // whose container it is, in mode user (ForUser); no key of the file either
	// Renamed says which values of the file have another name now.
	Renamed []string
}

// Engine is where the container engine is and how long a login waits for it.
type Engine struct {
	Socket  string
	Timeout time.Duration
}

// Sources are the host's directories that berth itself has mounted into the
// container, as the engine sees them. They follow from where berth is installed,
// and from the constants above (admin/hostfiles).
type Sources struct{ Guest, Lifeline, Serve, Names string }

// keys is what stands outside of the profiles, by table and key. What stands before the
// first table has none.
var keys = map[string]map[string]key{
	"": {
		"transport": withOldValue(text(func(p *Policy) *string { return &p.Transport }, Auto,
			`^(auto|direct|exec)$`, "must be auto, direct or exec"),
			"transport", "docker", Exec),
		"mode": modeKey,
	},
	"engine": {
		"socket":  path(func(p *Policy) *string { return &p.Engine.Socket }, "/run/docker.sock"),
		"timeout": duration(func(p *Policy) *time.Duration { return &p.Engine.Timeout }, 10*time.Second),
	},
	"container": containerKeys,
	"session":   sessionKeys,
	"users":     userKeys,
}

// profileKeys is what may stand in [profile.NAME], by table and key.
var profileKeys = map[string]map[string]key{
	"": {
		"groups": newKey(func(p *Policy) *[]string { return &p.Groups }, nil, checkNames, showList),
		"users":  newKey(func(p *Policy) *[]string { return &p.Members }, nil, checkNames, showList),
		"mode":   modeKey,
	},
	"container": containerKeys,
	"session":   sessionKeys,
}

var modeKey = text(func(p *Policy) *string { return &p.Mode }, Shared, `^(shared|user)$`, "must be shared or user")

// Default is the policy of an empty file.
func Default() Policy {
	p := Policy{Profile: BaseProfile, Sources: Sources{Guest: paths.Guest + "/guest", Lifeline: LifelineDir, Names: NamesDir}}
	for _, table := range keys {
		for _, k := range table {
			k.reset(&p)
		}
	}
	p.Sources.Serve = p.Dir()
	return p
}

// Dir is what the policy's container shares with the host.
func (p Policy) Dir() string { return filepath.Join(ProfilesDir, p.Profile, p.Container.Name) }
