// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"cmp"
	"slices"
	"strings"

	"berth/helper/internal/policy"
)

// Keyword is a keyword of sshd_config with its value.
type Keyword struct{ Name, Value string }

// Forwarding is the part of sshd_config that says what the users of a profile may forward. It names every kind,
// because DisableForwarding does not cover all kinds in all releases, and with it no kind can be allowed.
func Forwarding(p policy.Policy) []Keyword {
	yes := func(allowed bool) string { return map[bool]string{true: "yes", false: "no"}[allowed] }
	tcp := "no"
	switch local, remote := p.MayForward(policy.Local), p.MayForward(policy.Remote); {
	case local && remote:
		tcp = "yes"
	case local:
		tcp = "local"
	case remote:
		tcp = "remote"
	}
	ports := func(allowed bool, list []string) string {
		if !allowed {
			return "none"
		}
		return cmp.Or(strings.Join(list, " "), "any")
	}
	all := []Keyword{
		{"DisableForwarding", yes(len(p.Session.Forward) == 0)},
		{"AllowTcpForwarding", tcp},
		{"PermitOpen", ports(p.MayForward(policy.Local), p.Session.PermitOpen)},
		{"PermitListen", ports(p.MayForward(policy.Remote), p.Session.PermitListen)},
		{"AllowAgentForwarding", yes(p.MayForward(policy.Agent))},
	}
	for _, d := range demands {
		if d.neverForwards {
			name, value, _ := strings.Cut(d.line, " ")
			all = append(all, Keyword{name, value})
		}
	}
	return all
}

// forwardsPorts reads from sshd's effective configuration whether it forwards ports. A missing value counts as yes.
func forwardsPorts(e effectiveConfig) (local, remote bool) {
	tcp := e.first("allowtcpforwarding")
	if e.first("disableforwarding") == "yes" || tcp == "no" {
		return false, false
	}
	return tcp != "remote", tcp != "local"
}

// forwardFaults compares what sshd forwards with what the user's profile says: more is a fault, less
// a minor one.
func forwardFaults(p policy.Policy, e effectiveConfig) (more, less []fault) {
	of := func(name string) fault {
		f := fault{key: strings.ToLower(name), forwards: true}
		f.evidence = name + " is " + cmp.Or(e.first(f.key), "not there")
		for _, k := range Forwarding(p) {
			if k.Name == name {
				f.line = k.Name + " " + k.Value
			}
		}
		return f
	}
	addMore := func(effect, name string) {
		f := of(name)
		f.effect = effect
		more = append(more, f)
	}
	addLess := func(name string) {
		if e.first("disableforwarding") == "yes" {
			name = "DisableForwarding"
		}
		f := of(name)
		f.effect, f.minor = "may forward less than berth.toml says", true
		less = append(less, f)
	}
	const notAllowed = ", but session.forward does not allow that"
	local, remote := forwardsPorts(e)
	for _, kind := range []struct {
		is                          bool
		what, options, name, listed string
		list                        []string
	}{
		{local, policy.Local, "-L, -D and -W", "PermitOpen", "permit_open", p.Session.PermitOpen},
		{remote, policy.Remote, "-R", "PermitListen", "permit_listen", p.Session.PermitListen},
	} {
		may := p.MayForward(kind.what)
		switch {
		case kind.is && !may:
			addMore("may forward ports by ssh "+kind.options+notAllowed, "AllowTcpForwarding")
		case !kind.is && may:
			addLess("AllowTcpForwarding")
		case may:
			beyond, short := comparePorts(kind.list, strings.Fields(e.first(strings.ToLower(kind.name))))
			if beyond {
				addMore("may forward ports by ssh "+kind.options+" beyond session."+kind.listed, kind.name)
			}
			if short {
				addLess(kind.name)
			}
		}
	}
	agent := e.first("allowagentforwarding") != "no"
	switch may := p.MayForward(policy.Agent); {
	case agent && !may: // also with DisableForwarding, which did not always mean it
		addMore("may forward their agent by ssh -A"+notAllowed, "AllowAgentForwarding")
	case may && (!agent || e.first("disableforwarding") == "yes"):
		addLess("AllowAgentForwarding")
	}
	return more, less
}

// comparePorts compares the list of a profile, none being all ports, with what sshd says.
func comparePorts(want, have []string) (more, less bool) {
	const all, none = "any", "none"
	var listed []string
	for _, port := range want {
		if !strings.Contains(port, ":") {
			port = "*:" + port // as sshd -T prints it
		}
		listed = append(listed, port)
	}
	lacks := func(list, of []string) bool {
		return slices.ContainsFunc(of, func(port string) bool { return port != none && !slices.Contains(list, port) })
	}
	switch any := slices.Contains(have, all) || len(have) == 0; {
	case len(want) == 0:
		return false, !any
	case any:
		return true, false
	}
	return lacks(listed, have), lacks(have, listed)
}
