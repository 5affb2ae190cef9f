// SPDX-License-Identifier: Apache-2.0

// Package dropin is berth's part of sshd's configuration: what it says for the profiles of berth.toml,
// and how it is put in place.
//
// Process: berth. As: root.
package dropin

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"berth/helper/internal/admin/sshdcheck"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"
	"berth/sshd"
)

const head = `# SPDX-License-Identifier: Apache-2.0
#
# What each profile of berth.toml may forward. For each keyword sshd takes the
# first value that it finds: in the first block that matches, and of all others
# what stands at the end. Do not edit: berth sshd-config --install writes it.
`

// Text is the drop-in for a configuration, with berth-session at session. Where nobody may forward
// anything it is sshd.DropIn.
func Text(c policy.Config, session string) (string, error) {
	base := strings.Replace(sshd.DropIn, paths.Guest+"/berth-session", session, 1)
	var blocks strings.Builder
	all := c.All()
	// Behind the last profile that forwards anything, all is as the base has it.
	last := -1
	for i, p := range all {
		if len(p.Session.Forward) > 0 {
			last = i
		}
	}
	for _, p := range all[:last+1] {
		criteria, err := match(p)
		if err != nil {
			return "", err
		}
		for _, who := range criteria {
			fmt.Fprintf(&blocks, "\n# Profile %s.\nMatch Group %s%s\n", p.Profile, sshdcheck.Match, who)
			for _, k := range sshdcheck.Forwarding(p) {
				fmt.Fprintf(&blocks, "    %s %s\n", k.Name, k.Value)
			}
		}
	}
	if blocks.Len() == 0 {
		return base, nil
	}
	return head + blocks.String() + "\n" + base, nil
}

// match returns what stands in the Match lines of a profile: one line for its groups, one for its users. Two criteria
// of one line must both hold.
func match(p policy.Policy) (criteria []string, err error) {
	if p.Profile == policy.BaseProfile {
		return []string{""}, nil
	}
	for _, who := range []struct {
		criterion string
		names     []string
	}{{"Group", p.Groups}, {"User", p.Members}} {
		i := slices.IndexFunc(who.names, func(name string) bool { return !plainName().MatchString(name) })
		if i >= 0 {
			return nil, fmt.Errorf("berth.toml: profile %s: sshd's Match would take %q for a pattern or for more than one name: "+
				"with forward in any profile, name another group", p.Profile, who.names[i])
		}
		if len(who.names) > 0 {
			criteria = append(criteria, " "+who.criterion+" "+strings.Join(who.names, ","))
		}
	}
	return criteria, nil
}

// plainName is a name that sshd compares as it is: nothing of a pattern (ssh_config(5)), a list, a quote or
// a comment is in it.
var plainName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\pL\pN_][\pL\pN_.@+$-]*$`) })
