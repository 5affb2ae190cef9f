// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// setter checks one value and puts it into the policy.
type setter func(*Policy, any) error

// keys is the whole of berth.toml, by table and key. What stands before the
// first table has none.
var keys = map[string]map[string]setter{
	"": {
		"transport": text(func(p *Policy) *string { return &p.Transport }, `^(auto|direct|docker)$`, "must be auto, direct or docker"),
	},
	"engine": {
		"socket":  path(func(p *Policy) *string { return &p.Engine.Socket }),
		"timeout": duration(func(p *Policy) *time.Duration { return &p.Engine.Timeout }),
	},
	"container": {
		"name":         text(func(p *Policy) *string { return &p.Container.Name }, `^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`, "must be a container's name"),
		"image":        text(func(p *Policy) *string { return &p.Container.Image }, `^[a-z0-9][a-zA-Z0-9_./:@-]{0,254}$`, "must be an image's name"),
		"hostname":     text(func(p *Policy) *string { return &p.Container.Hostname }, `^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62})$`, "must be a host's name"),
		"network":      setNetwork,
		"read_only":    flag(func(p *Policy) *bool { return &p.Container.ReadOnly }),
		"capabilities": setCapabilities,
		"seccomp":      setSeccomp,
		"tmpfs":        setTmpfs,
		"mount":        setMounts,
		"pids_limit":   number(func(p *Policy) *int64 { return &p.Container.PidsLimit }, 16, 4<<20),
		"memory":       setMemory,
		"nofile_soft":  number(func(p *Policy) *int64 { return &p.Container.NoFile.Soft }, 64, 1<<30),
		"nofile_hard":  number(func(p *Policy) *int64 { return &p.Container.NoFile.Hard }, 64, 1<<30),
		"restart":      text(func(p *Policy) *string { return &p.Container.Restart }, `^(always|unless-stopped|on-failure|no)$`, "must be always, unless-stopped, on-failure or no"),
		"heal":         flag(func(p *Policy) *bool { return &p.Container.Heal }),
	},
	"session": {
		"shell":       path(func(p *Policy) *string { return &p.Session.Shell }),
		"path":        text(func(p *Policy) *string { return &p.Session.Path }, `^/[^:\x00-\x1f]*(:/[^:\x00-\x1f]*)*$`, "must be absolute paths with colons between"),
		"umask":       setUmask,
		"set_env":     setEnv,
		"accept_env":  setAcceptEnv,
		"sftp_server": path(func(p *Policy) *string { return &p.Session.SFTPServer }),
		"linger":      flag(func(p *Policy) *bool { return &p.Session.Linger }),
		"timeout":     duration(func(p *Policy) *time.Duration { return &p.Session.Timeout }),
		"limit":       number(func(p *Policy) *int64 { return &p.Session.Limit }, 1, 1<<20),
	},
	"users": {
		"uid_min": uid(func(p *Policy) *uint32 { return &p.Users.UIDMin }),
		"uid_max": uid(func(p *Policy) *uint32 { return &p.Users.UIDMax }),
	},
}

var (
	errText = errors.New("must be a string")
	errPath = errors.New("must be an absolute path, with no . or .. in it")
)

func text(field func(*Policy) *string, pattern, due string) setter {
	// Most files set few keys, and this runs at every login.
	form := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
	return func(p *Policy, v any) error {
		s, ok := v.(string)
		if !ok {
			return errText
		}
		if !form().MatchString(s) {
			return errors.New(due)
		}
		*field(p) = s
		return nil
	}
}

func path(field func(*Policy) *string) setter {
	return func(p *Policy, v any) error {
		s, ok := v.(string)
		if !ok {
			return errText
		}
		if !cleanPath(s) {
			return errPath
		}
		*field(p) = s
		return nil
	}
}

func cleanPath(s string) bool {
	return filepath.IsAbs(s) && filepath.Clean(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func flag(field func(*Policy) *bool) setter {
	return func(p *Policy, v any) error {
		b, ok := v.(bool)
		if !ok {
			return errors.New("must be true or false")
		}
		*field(p) = b
		return nil
	}
}

func number(field func(*Policy) *int64, low, high int64) setter {
	return func(p *Policy, v any) error {
		n, ok := v.(int64)
		if !ok || n < low || n > high {
			return fmt.Errorf("must be a number from %d to %d", low, high)
		}
		*field(p) = n
		return nil
	}
}

func uid(field func(*Policy) *uint32) setter {
	return func(p *Policy, v any) error {
		n, ok := v.(int64)
		if !ok || n < 1 || n > 1<<32-2 {
			return errors.New("must be a uid, from 1 to 4294967294")
		}
		*field(p) = uint32(n)
		return nil
	}
}

// Waiting is bounded on both sides: a login that never fails is no login, and
// one that does not wait fails under load.
func duration(field func(*Policy) *time.Duration) setter {
	return func(p *Policy, v any) error {
		s, ok := v.(string)
		d, err := time.ParseDuration(s)
		if !ok || err != nil || d < 100*time.Millisecond || d > 5*time.Minute {
			return errors.New(`must be a time from "100ms" to "5m"`)
		}
		*field(p) = d
		return nil
	}
}

// stringsOf returns v as a list of strings, or false.
func stringsOf(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	var out []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return slices.Compact(out), true
}
