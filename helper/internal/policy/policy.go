// SPDX-License-Identifier: Apache-2.0

// Package policy is berth.toml: what an administrator decides. It is strict,
// reports every problem at once, and knows no engine. The manual page
// berth.toml(5) is its reference.
package policy

import (
	"time"

	"berth/helper/internal/link/paths"
)

// Path is where the configuration is. No argument or variable of berth-session
// moves it.
const Path = "/etc/berth/berth.toml"

// What a login finds on the host, whatever the policy says: no byte is read to
// find it. `berth up` makes them agree with the policy.
const (
	EngineLink  = "/etc/berth/engine.sock"
	ServeDir    = "/var/lib/berth/serve" // where the container makes its sockets
	ServeSocket = ServeDir + "/" + paths.Socket
	NamesDir    = "/var/lib/berth/names"    // what pam_berth.so records
	LifelineDir = "/var/lib/berth/lifeline" // the sockets of transport exec's sessions
)

// The ways to the container.
const (
	Auto   = "auto"   // direct where the container serves sessions, else exec
	Direct = "direct" // by the socket that the container serves
	Exec   = "exec"   // by an exec of the engine's
)

// Policy is a whole configuration.
type Policy struct {
	Transport string
	Engine    Engine
	Container Container
	Session   Session
	Users     Users
	Sources   Sources // no key of the file
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

// keys is the whole of berth.toml, by table and key. What stands before the first
// table has none.
var keys = map[string]map[string]key{
	"": {
		"transport": withOldValue(text(func(p *Policy) *string { return &p.Transport }, Auto,
			`^(auto|direct|exec)$`, "must be auto, direct or exec"),
			"transport", "docker", Exec),
	},
	"engine": {
		"socket":  path(func(p *Policy) *string { return &p.Engine.Socket }, "/run/docker.sock"),
		"timeout": duration(func(p *Policy) *time.Duration { return &p.Engine.Timeout }, 10*time.Second),
	},
	"container": containerKeys,
	"session":   sessionKeys,
	"users":     userKeys,
}

// Default is the policy of an empty file.
func Default() Policy {
	p := Policy{Sources: Sources{Guest: paths.Guest + "/guest", Lifeline: LifelineDir, Serve: ServeDir, Names: NamesDir}}
	for _, table := range keys {
		for _, k := range table {
			k.reset(&p)
		}
	}
	return p
}
