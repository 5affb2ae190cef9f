// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// What a connection may forward (Session.Forward).
const (
	Local  = "local"  // ssh -L, -D and -W, which sshd does not tell apart
	Remote = "remote" // ssh -R
	Agent  = "agent"  // ssh -A
)

// MayForward reports whether connections may forward what: Local, Remote or Agent.
func (p Policy) MayForward(what string) bool { return slices.Contains(p.Session.Forward, what) }

// ForwardsPorts reports whether connections may forward ports, in either direction.
func (p Policy) ForwardsPorts() bool { return p.MayForward(Local) || p.MayForward(Remote) }

// ForwardsPorts reports whether any profile's connections may forward ports.
func (c Config) ForwardsPorts() bool { return slices.ContainsFunc(c.All(), Policy.ForwardsPorts) }

func checkForward(v any) ([]string, error) {
	list, ok := stringList(v)
	if !ok || slices.ContainsFunc(list, func(what string) bool { return what != Local && what != Remote && what != Agent }) {
		return nil, errors.New(`must be a list of any of "local", "remote" and "agent"`)
	}
	return list, nil
}

// checkPermitOpen is stricter than sshd, which takes any text for a host.
func checkPermitOpen(v any) ([]string, error) {
	list, ok := stringList(v)
	if !ok || !all(list, isHostPort) {
		return nil, errors.New(`must be a list of HOST:PORT with ports from 1 to 65535 or *, such as "localhost:8080", "[::1]:8080" or "*:8080"`)
	}
	return list, nil
}

func checkPermitListen(v any) ([]string, error) {
	list, ok := stringList(v)
	if !ok || !all(list, func(s string) bool { return isPort(s) || isHostPort(s) }) {
		return nil, errors.New(`must be a list of PORT or HOST:PORT with ports from 1 to 65535 or *, such as "8080" or "localhost:8080"`)
	}
	return list, nil
}

func all(list []string, good func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !good(s) })
}

// forwardHost is a name or an IPv4 address.
var forwardHost = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$`) })

func isHostPort(s string) bool {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || !isPort(s[colon+1:]) {
		return false
	}
	host := s[:colon]
	if inner, found := strings.CutPrefix(host, "["); found {
		address, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && strings.HasSuffix(host, "]") && address.Is6() && address.Zone() == ""
	}
	return host == "*" || forwardHost().MatchString(host)
}

// isPort reports whether s is a port as sshd reads it; * is any.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "*" || err == nil && n > 0 && s == strconv.FormatUint(n, 10)
}

// limitForwards reports a list of ports for a direction in which nothing may be forwarded. given
// is this policy's own table [session]; a list that a profile has only from the base is dropped.
func (p *Policy) limitForwards(given map[string]any, report func(key, text string)) {
	for _, list := range []struct {
		key, what string
		field     *[]string
	}{{"permit_open", Local, &p.Session.PermitOpen}, {"permit_listen", Remote, &p.Session.PermitListen}} {
		if p.MayForward(list.what) || len(*list.field) == 0 {
			continue
		}
		if _, own := given[list.key]; own {
			report("session."+list.key, "means something only if session.forward has "+strconv.Quote(list.what))
		}
		*list.field = nil
	}
}
