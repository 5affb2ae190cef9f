// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// setter checks one value and puts it into the policy.
type setter func(*Policy, any) error

// key is one key of berth.toml.
type key struct {
	set   setter
	get   func(*Policy) any // its value in the file's own notation; nil: none
	reset func(*Policy)     // to the default
}

var (
	errText = errors.New("must be a string")
	errPath = errors.New("must be an absolute path, with no . or .. in it")
)

// newKey makes a key: its field, its default, how a value of the file is checked, and how
// one is shown. All policies share the maps and lists of the defaults, so nobody changes one
// in place.
func newKey[T any](field func(*Policy) *T, def T, check func(any) (T, error), show func(T) any) key {
	return key{
		set: func(p *Policy, v any) error {
			checked, err := check(v)
			if err == nil {
				*field(p) = checked
			}
			return err
		},
		get:   func(p *Policy) any { return show(*field(p)) },
		reset: func(p *Policy) { *field(p) = def },
	}
}

// asIs shows a value that is the same in the file and in the policy.
func asIs[T any](v T) any { return v }

// noneIfEmpty shows a string; an empty one is a key that has no value.
func noneIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func text(field func(*Policy) *string, def, pattern, message string) key {
	// Most files set few keys, and this runs at every login.
	form := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
	return newKey(field, def, func(v any) (string, error) {
		s, ok := v.(string)
		if !ok {
			return "", errText
		}
		if !form().MatchString(s) {
			return "", errors.New(message)
		}
		return s, nil
	}, noneIfEmpty)
}

// withOldValue lets the key called name have the value old, which is called now today. The
// policy notes it.
func withOldValue(k key, name, old, now string) key {
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

func path(field func(*Policy) *string, def string) key {
	return newKey(field, def, func(v any) (string, error) {
		s, ok := v.(string)
		if !ok {
			return "", errText
		}
		if !isCleanPath(s) {
			return "", errPath
		}
		return s, nil
	}, noneIfEmpty)
}

func isCleanPath(s string) bool {
	return filepath.IsAbs(s) && filepath.Clean(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func flag(field func(*Policy) *bool, def bool) key {
	return newKey(field, def, func(v any) (bool, error) {
		b, ok := v.(bool)
		if !ok {
			return false, errors.New("must be true or false")
		}
		return b, nil
	}, asIs)
}

func number(field func(*Policy) *int64, def, low, high int64) key {
	return newKey(field, def, func(v any) (int64, error) {
		n, ok := v.(int64)
		if !ok || n < low || n > high {
			return 0, fmt.Errorf("must be a number from %d to %d", low, high)
		}
		return n, nil
	}, asIs)
}

func uid(field func(*Policy) *uint32, def uint32) key {
	return newKey(field, def, func(v any) (uint32, error) {
		n, ok := v.(int64)
		if !ok || n < 1 || n > 1<<32-2 {
			return 0, errors.New("must be a uid, from 1 to 4294967294")
		}
		return uint32(n), nil
	}, func(n uint32) any { return int64(n) })
}

// Waiting is bounded on both sides: a login that never fails is no login, and
// one that does not wait fails under load.
func duration(field func(*Policy) *time.Duration, def time.Duration) key {
	return newKey(field, def, func(v any) (time.Duration, error) {
		s, ok := v.(string)
		d, err := time.ParseDuration(s)
		if !ok || err != nil || d < 100*time.Millisecond || d > 5*time.Minute {
			return 0, errors.New(`must be a time from "100ms" to "5m"`)
		}
		return d, nil
	}, func(d time.Duration) any { return d.String() })
}

const day = 24 * time.Hour

// span is a longer time than a login waits, in days, too.
func span(field func(*Policy) *time.Duration, def, low, high time.Duration) key {
	return newKey(field, def, func(v any) (time.Duration, error) {
		s, _ := v.(string)
		d, err := parseSpan(s)
		if err != nil || d < low || d > high {
			return 0, fmt.Errorf("must be a time from %q to %q", showSpan(low), showSpan(high))
		}
		return d, nil
	}, showSpan)
}

// parseSpan reads what showSpan writes, and all that time.ParseDuration does.
func parseSpan(s string) (time.Duration, error) {
	if days, found := strings.CutSuffix(s, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * day, err
	}
	return time.ParseDuration(s)
}

// showSpan is a time in its largest whole unit.
func showSpan(d time.Duration) any {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d != 0 && d%unit.of == 0 {
			return fmt.Sprintf("%d%s", d/unit.of, unit.name)
		}
	}
	return d.String()
}

// stringList returns v as a list of strings, or false.
func stringList(v any) ([]string, bool) {
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
