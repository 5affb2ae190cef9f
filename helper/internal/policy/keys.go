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

// key is one key of berth.toml: how its value gets into a policy, and what value
// a policy has for it, in the file's own notation; nil: none.
type key struct {
	set setter
	get func(*Policy) any
}

// keys is the whole of berth.toml, by table and key. What stands before the
// first table has none.
var keys = map[string]map[string]key{
	"": {
		"transport": renamed(text(func(p *Policy) *string { return &p.Transport }, `^(auto|direct|exec)$`, "must be auto, direct or exec"), "transport", "docker", Exec),
	},
	"engine": {
		"socket":  path(func(p *Policy) *string { return &p.Engine.Socket }),
		"timeout": duration(func(p *Policy) *time.Duration { return &p.Engine.Timeout }),
	},
	"container": {
		"name":           text(func(p *Policy) *string { return &p.Container.Name }, `^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`, "must be a container's name"),
		"image":          text(func(p *Policy) *string { return &p.Container.Image }, `^[a-z0-9][a-zA-Z0-9_./:@-]{0,254}$`, "must be an image's name"),
		"hostname":       text(func(p *Policy) *string { return &p.Container.Hostname }, `^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62})$`, "must be a host's name"),
		"network":        {setNetwork, func(p *Policy) any { return p.Container.Network }},
		"read_only":      flag(func(p *Policy) *bool { return &p.Container.ReadOnly }),
		"capabilities":   {setCapabilities, func(p *Policy) any { return p.Container.Capabilities }},
		"seccomp":        {setSeccomp, func(p *Policy) any { return p.Container.Seccomp }},
		"tmpfs":          {setTmpfs, func(p *Policy) any { return p.Container.Tmpfs }},
		"mount":          {setMounts, getMounts},
		"pids_limit":     number(func(p *Policy) *int64 { return &p.Container.PidsLimit }, 16, 1<<16),
		"user_processes": number(func(p *Policy) *int64 { return &p.Container.UserProcesses }, 16, 4<<20),
		"terminals":      number(func(p *Policy) *int64 { return &p.Container.Terminals }, 16, 1<<20),
		"memory":         {setMemory, getMemory},
		"nofile_soft":    number(func(p *Policy) *int64 { return &p.Container.NoFile.Soft }, 64, 1<<30),
		"nofile_hard":    number(func(p *Policy) *int64 { return &p.Container.NoFile.Hard }, 64, 1<<30),
		"restart":        text(func(p *Policy) *string { return &p.Container.Restart }, `^(always|unless-stopped|on-failure|no)$`, "must be always, unless-stopped, on-failure or no"),
		"heal":           flag(func(p *Policy) *bool { return &p.Container.Heal }),
	},
	"session": {
		"shell":       path(func(p *Policy) *string { return &p.Session.Shell }),
		"path":        text(func(p *Policy) *string { return &p.Session.Path }, `^/[^:\x00-\x1f]*(:/[^:\x00-\x1f]*)*$`, "must be absolute paths with colons between"),
		"umask":       {setUmask, getUmask},
		"set_env":     {setEnv, func(p *Policy) any { return p.Session.SetEnv }},
		"accept_env":  {setAcceptEnv, getAcceptEnv},
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

// of makes a key of a field and of what checks its value.
func of[T any](field func(*Policy) *T, check func(any) (T, error), show func(T) any) key {
	return key{
		set: func(p *Policy, v any) error {
			checked, err := check(v)
			if err == nil {
				*field(p) = checked
			}
			return err
		},
		get: func(p *Policy) any { return show(*field(p)) },
	}
}

// orNone shows a string; an empty one is a key that has no value.
func orNone(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func text(field func(*Policy) *string, pattern, due string) key {
	// Most files set few keys, and this runs at every login.
	form := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
	return of(field, func(v any) (string, error) {
		s, ok := v.(string)
		if !ok {
			return "", errText
		}
		if !form().MatchString(s) {
			return "", errors.New(due)
		}
		return s, nil
	}, orNone)
}

// renamed has the key called name read the value that was once called old as the value now, and
// notes it.
func renamed(k key, name, old, now string) key {
	set := k.set
	k.set = func(p *Policy, v any) error {
		if v == any(old) {
			p.Renamed = append(p.Renamed, fmt.Sprintf("%s: %q is called %q now", name, old, now))
			v = now
		}
		return set(p, v)
	}
	return k
}

func path(field func(*Policy) *string) key {
	return of(field, func(v any) (string, error) {
		s, ok := v.(string)
		if !ok {
			return "", errText
		}
		if !cleanPath(s) {
			return "", errPath
		}
		return s, nil
	}, orNone)
}

func cleanPath(s string) bool {
	return filepath.IsAbs(s) && filepath.Clean(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func flag(field func(*Policy) *bool) key {
	return of(field, func(v any) (bool, error) {
		b, ok := v.(bool)
		if !ok {
			return false, errors.New("must be true or false")
		}
		return b, nil
	}, func(b bool) any { return b })
}

func number(field func(*Policy) *int64, low, high int64) key {
	return of(field, func(v any) (int64, error) {
		n, ok := v.(int64)
		if !ok || n < low || n > high {
			return 0, fmt.Errorf("must be a number from %d to %d", low, high)
		}
		return n, nil
	}, func(n int64) any { return n })
}

func uid(field func(*Policy) *uint32) key {
	return of(field, func(v any) (uint32, error) {
		n, ok := v.(int64)
		if !ok || n < 1 || n > 1<<32-2 {
			return 0, errors.New("must be a uid, from 1 to 4294967294")
		}
		return uint32(n), nil
	}, func(n uint32) any { return int64(n) })
}

// Waiting is bounded on both sides: a login that never fails is no login, and
// one that does not wait fails under load.
func duration(field func(*Policy) *time.Duration) key {
	return of(field, func(v any) (time.Duration, error) {
		s, ok := v.(string)
		d, err := time.ParseDuration(s)
		if !ok || err != nil || d < 100*time.Millisecond || d > 5*time.Minute {
			return 0, errors.New(`must be a time from "100ms" to "5m"`)
		}
		return d, nil
	}, func(d time.Duration) any { return d.String() })
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
