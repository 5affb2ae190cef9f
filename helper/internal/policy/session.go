// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Session is what a login gets.
type Session struct {
	Shell      string
	Path       string
	Umask      *uint32 // nil: the host session's
	SetEnv     map[string]string
	AcceptEnv  []string
	SFTPServer string        // empty: looked for in the usual places
	Linger     time.Duration // what survives a session may stay so long; Forever: always
	Timeout    time.Duration
	Limit      int64    // of one user's sessions at a time
	Forward    []string // what sshd may forward into the container: "local", "remote", "agent"
}

// sessionKeys is the table [session]: each key with its default and its check.
var sessionKeys = map[string]key{
	"shell": path(func(p *Policy) *string { return &p.Session.Shell }, "/bin/bash"),
	"path": text(func(p *Policy) *string { return &p.Session.Path }, "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
		`^/[^:\x00-\x1f]*(:/[^:\x00-\x1f]*)*$`, "must be absolute paths with colons between"),
	"umask":       newKey(func(p *Policy) **uint32 { return &p.Session.Umask }, nil, checkUmask, showUmask),
	"set_env":     newKey(func(p *Policy) *map[string]string { return &p.Session.SetEnv }, map[string]string{}, checkSetEnv, asIs),
	"accept_env":  newKey(func(p *Policy) *[]string { return &p.Session.AcceptEnv }, nil, checkAcceptEnv, showList),
	"sftp_server": path(func(p *Policy) *string { return &p.Session.SFTPServer }, ""),
	"linger":      newKey(func(p *Policy) *time.Duration { return &p.Session.Linger }, 0, checkLinger, showLinger),
	"timeout":     duration(func(p *Policy) *time.Duration { return &p.Session.Timeout }, 10*time.Second),
	"limit":       number(func(p *Policy) *int64 { return &p.Session.Limit }, 100, 1, 1<<20),
	"forward":     newKey(func(p *Policy) *[]string { return &p.Session.Forward }, nil, checkForward, showList),
}

// Users says which uids may log in.
type Users struct{ UIDMin, UIDMax uint32 }

// userKeys is the table [users]. login.defs' 60000 would keep most directory servers'
// users out.
var userKeys = map[string]key{
	"uid_min": uid(func(p *Policy) *uint32 { return &p.Users.UIDMin }, 1000),
	"uid_max": uid(func(p *Policy) *uint32 { return &p.Users.UIDMax }, 1<<31-1),
}

// conflicts reports values that are right by themselves and wrong together.
func (u Users) conflicts(report func(key, text string)) {
	if u.UIDMin > u.UIDMax {
		report("users.uid_min", "is above users.uid_max")
	}
}

func checkUmask(v any) (*uint32, error) {
	s, ok := v.(string)
	n, err := strconv.ParseUint(s, 8, 32)
	if !ok || err != nil || n > 0o777 {
		return nil, errors.New(`must be octal digits in quotes, such as "027"`)
	}
	mask := uint32(n)
	return &mask, nil
}

func showUmask(mask *uint32) any {
	if mask == nil {
		return nil
	}
	return fmt.Sprintf("%03o", *mask)
}

var variableName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })

func checkSetEnv(v any) (map[string]string, error) {
	table, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("must be a table of names and strings")
	}
	set := map[string]string{}
	for name, value := range table {
		s, ok := value.(string)
		if !ok || !variableName().MatchString(name) || strings.ContainsRune(s, 0) {
			return nil, errors.New("must hold names of variables, each with a string")
		}
		set[name] = s
	}
	return set, nil
}

func checkAcceptEnv(v any) ([]string, error) {
	list, ok := stringList(v)
	if !ok {
		return nil, errors.New("must be a list of strings")
	}
	for _, name := range list {
		if !variableName().MatchString(strings.TrimSuffix(name, "*")) {
			return nil, errors.New("must hold names of variables; one may end in *")
		}
	}
	return list, nil
}

func checkForward(v any) ([]string, error) {
	list, ok := stringList(v)
	for _, kind := range list {
		ok = ok && (kind == "local" || kind == "remote" || kind == "agent")
	}
	if !ok {
		return nil, errors.New(`must be a list of "local", "remote" and "agent"`)
	}
	return list, nil
}

// Forever is a time that does not end.
const Forever = time.Duration(-1)

func checkLinger(v any) (time.Duration, error) {
	if stay, ok := v.(bool); ok {
		return map[bool]time.Duration{true: Forever}[stay], nil
	}
	s, _ := v.(string)
	d, err := parseSpan(s)
	if err != nil || d < time.Second || d > 365*day {
		return 0, errors.New(`must be true, false, or a time from "1s" to "365d"`)
	}
	return d, nil
}

func showLinger(d time.Duration) any {
	if d > 0 {
		return showSpan(d)
	}
	return d == Forever
}
