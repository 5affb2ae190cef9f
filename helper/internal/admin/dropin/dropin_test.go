// SPDX-License-Identifier: Apache-2.0

package dropin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/helper/internal/policy"
	"berth/sshd"
)

const session = "/usr/libexec/berth/berth-session"

func text(t *testing.T, file string) (string, error) {
	t.Helper()
	c, err := policy.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return Text(c, session)
}

// Where nobody may forward anything the drop-in is the package's, whatever profiles there are.
func TestNothingForwarded(t *testing.T) {
	for _, file := range []string{"", "[profile.a]\ngroups = ['a*', 'b']\n[profile.a.session]\nforward = []\n"} {
		if got, err := text(t, file); got != sshd.DropIn || err != nil {
			t.Errorf("%v\n%s", err, got)
		}
	}
	got, err := Text(policy.Config{}, "/opt/libexec/berth/berth-session")
	if err != nil || !strings.Contains(got, "\n    ForceCommand /opt/libexec/berth/berth-session\n") || strings.Contains(got, session) {
		t.Errorf("%v\n%s", err, got)
	}
}

// Each profile has its blocks in the order of the file, up to the last that forwards anything; the package's drop-in is the
// last.
func TestBlocks(t *testing.T) {
	const profiles = `
[profile.z]
groups = ["z"]
users = ["ann", "bea"]
[profile.m]
groups = ["m", "n"]
[profile.m.session]
forward = ["local", "remote"]
permit_open = ["h:1", "[::1]:2"]
permit_listen = ["8080"]
[profile.a]
users = ["cid"]
[profile.a.session]
forward = []
`
	const closed = "DisableForwarding yes,AllowTcpForwarding no,PermitOpen none,PermitListen none,AllowAgentForwarding no"
	z := []string{"Match Group berth,!admins Group z," + closed, "Match Group berth,!admins User ann,bea," + closed}
	m := "Match Group berth,!admins Group m,n,DisableForwarding no,AllowTcpForwarding yes," +
		"PermitOpen [::1]:2 h:1,PermitListen 8080,AllowAgentForwarding no"
	a := "Match Group berth,!admins User cid," + closed
	const agent = "DisableForwarding no,AllowTcpForwarding no,PermitOpen none,PermitListen none,AllowAgentForwarding yes"
	const local = "Match Group berth,!admins,DisableForwarding no,AllowTcpForwarding local," +
		"PermitOpen any,PermitListen none,AllowAgentForwarding no"
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"the base forwards nothing": {profiles, append(slices.Clone(z), m)},
		"the base forwards": {"[session]\nforward = ['agent']\n" + profiles, []string{strings.ReplaceAll(z[0], closed, agent),
			strings.ReplaceAll(z[1], closed, agent), m, a, "Match Group berth,!admins," + agent}},
		"the base alone": {"[session]\nforward = ['local']\n", []string{local}},
	} {
		got, err := text(t, c.file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		front, found := strings.CutSuffix(got, sshd.DropIn)
		if !found {
			t.Errorf("%s: does not end in the package's:\n%s", name, got)
		}
		var blocks []string
		for line := range strings.Lines(front) {
			switch line = strings.TrimSpace(line); {
			case line == "" || strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, "Match "):
				blocks = append(blocks, line)
			default:
				blocks[len(blocks)-1] += "," + line
			}
		}
		for i := range blocks {
			rest, always := strings.CutSuffix(blocks[i], ",AllowStreamLocalForwarding no,GatewayPorts no,X11Forwarding no,PermitTunnel no")
			if !always {
				t.Errorf("%s: opens what nobody may have: %s", name, blocks[i])
			}
			blocks[i] = rest
		}
		if !slices.Equal(blocks, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(blocks, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// A name that sshd would take for a pattern, for several names or for a quote gets no Match.
func TestNamesThatSSHDWouldMisread(t *testing.T) {
	const profile = "[profile.a]\n%s = [%s]\n[profile.a.session]\nforward = ['local']\n"
	for _, name := range []string{"*", "a*", "a?", "!a", `"a`, "a\"", "'a'", "#a", "a#b", `a\b`, "a=b", "+a", "@a", "$a", ".a", "a\u00a0b"} {
		for _, key := range []string{"groups", "users"} {
			c, err := policy.Parse(fmt.Appendf(nil, profile, key, policy.Text(name)))
			if err != nil {
				continue // no name at all
			}
			if got, err := Text(c, session); err == nil || got != "" || !strings.Contains(err.Error(), "profile a: ") {
				t.Errorf("%q: %v\n%s", name, err, got)
			}
		}
	}
	for _, name := range []string{"a", "_a", "a.b", "a-b", "a_b", "a+b", "a$", "a@example.org", "0a", "müller", "Ärzte"} {
		got, err := text(t, fmt.Sprintf(profile, "groups", policy.Text(name)))
		if err != nil || !strings.Contains(got, " Group "+name+"\n") {
			t.Errorf("%q: %v\n%s", name, err, got)
		}
	}
}
