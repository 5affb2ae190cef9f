// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"strings"
	"testing"

	"berth/helper/internal/policy"
)

// What sshd forwards is exactly what the profile says: more is a fault, and less a note.
func TestForwardFaults(t *testing.T) {
	of := func(forward string, open, listen string) policy.Policy {
		return policy.Policy{Session: policy.Session{Forward: strings.Fields(forward),
			PermitOpen: strings.Fields(open), PermitListen: strings.Fields(listen)}}
	}
	closed := of("", "", "")
	twice := func(evidence string) string { return evidence + " " + evidence } // -L and -R
	for name, c := range map[string]struct {
		profile    policy.Policy
		says       string // of sshd -T, beside what the profile would have it say
		more, less string // parts of the evidence
	}{
		"nothing":                 {closed, "", "", ""},
		"nothing, by one keyword": {closed, "allowtcpforwarding yes\npermitopen any\npermitlisten any", "", ""},
		"by the other":            {closed, "disableforwarding no", "", ""},
		"the agent needs its own": {closed, "allowagentforwarding yes", "AllowAgentForwarding is yes", ""},
		"open":                    {closed, "disableforwarding no\nallowtcpforwarding yes", twice("AllowTcpForwarding is yes"), ""},
		"open to one side":        {closed, "disableforwarding no\nallowtcpforwarding remote", "AllowTcpForwarding is remote", ""},
		"what sshd does not say":  {closed, "disableforwarding no\nallowtcpforwarding ", twice("AllowTcpForwarding is not there"), ""},
		"a word of later":         {closed, "disableforwarding no\nallowtcpforwarding all", twice("AllowTcpForwarding is all"), ""},
		"local":                   {of("local", "", ""), "", "", ""},
		"local, and both":         {of("local", "", ""), "allowtcpforwarding yes", "AllowTcpForwarding is yes", ""},
		"local, and the other": {of("local", "", ""), "allowtcpforwarding remote", "AllowTcpForwarding is remote",
			"AllowTcpForwarding is remote"},
		"local, and none":            {of("local", "", ""), "allowtcpforwarding no", "", "AllowTcpForwarding is no"},
		"local, disabled":            {of("local", "", ""), "disableforwarding yes", "", "DisableForwarding is yes"},
		"local, to no port":          {of("local", "", ""), "permitopen none", "", "PermitOpen is none"},
		"local, to some":             {of("local", "", ""), "permitopen h:1", "", "PermitOpen is h:1"},
		"some":                       {of("local", "h:1 i:2", ""), "permitopen i:2 h:1", "", ""},
		"some, and any":              {of("local", "h:1", ""), "permitopen any", "PermitOpen is any", ""},
		"some, and nothing is said":  {of("local", "h:1", ""), "permitopen ", "PermitOpen is not there", ""},
		"some, and others":           {of("local", "h:1", ""), "permitopen h:2", "PermitOpen is h:2", "PermitOpen is h:2"},
		"some, and more":             {of("local", "h:1", ""), "permitopen h:1 h:2", "PermitOpen is h:1 h:2", ""},
		"some, and fewer":            {of("local", "h:1 h:2", ""), "permitopen h:1", "", "PermitOpen is h:1"},
		"some, and none":             {of("local", "h:1", ""), "permitopen none", "", "PermitOpen is none"},
		"ports that sshd writes out": {of("remote", "", "80 h:81 *"), "permitlisten *:80 h:81 *:*", "", ""},
		"listens more":               {of("remote", "", "80"), "permitlisten *:80 *:81", "PermitListen is *:80 *:81", ""},
		"the agent":                  {of("agent", "", ""), "", "", ""},
		"the agent, and none":        {of("agent", "", ""), "allowagentforwarding no", "", "AllowAgentForwarding is no"},
		"the agent, disabled":        {of("agent", "", ""), "disableforwarding yes", "", "DisableForwarding is yes"},
		"all":                        {of("agent local remote", "", ""), "", "", ""},
	} {
		e := effectiveConfig{}
		for _, k := range Forwarding(c.profile) {
			e[strings.ToLower(k.Name)] = []string{k.Value}
		}
		for line := range strings.Lines(c.says) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			e[key] = []string{value}
		}
		evidence := func(faults []fault, minor bool) string {
			var all []string
			for _, f := range faults {
				if f.minor != minor || !f.forwards || f.line == "" || f.effect == "" {
					t.Errorf("%s: %+v", name, f)
				}
				all = append(all, f.evidence)
			}
			return strings.Join(all, " ")
		}
		more, less := forwardFaults(c.profile, e)
		if got := evidence(more, false); got != c.more {
			t.Errorf("%s: more: %q, want %q", name, got, c.more)
		}
		if got := evidence(less, true); got != c.less {
			t.Errorf("%s: less: %q, want %q", name, got, c.less)
		}
	}
}
