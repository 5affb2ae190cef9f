// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"testing"
)

// What sshd_config would misread, or read as more, is no port.
func TestPermittedPorts(t *testing.T) {
	for _, c := range []struct {
		text         string
		open, listen bool
	}{
		{"localhost:80", true, true}, {"127.0.0.1:65535", true, true}, {"[::1]:80", true, true}, {"[2001:db8::1]:*", true, true},
		{"*:80", true, true}, {"*:*", true, true}, {"db_1.example-2.org:5432", true, true},
		{"80", false, true}, {"*", false, true},
		{"", false, false}, {"any", false, false}, {"none", false, false}, {"localhost", false, false}, {":80", false, false},
		{"0", false, false}, {"65536", false, false}, {"080", false, false}, {"+80", false, false}, {"-1", false, false},
		{"localhost:0", false, false}, {"localhost:http", false, false}, {"localhost:", false, false}, {"localhost:8*", false, false},
		{"::1:80", false, false}, {"[::1]80", false, false}, {"[::1:80", false, false}, {"[localhost]:80", false, false},
		{"[127.0.0.1]:80", false, false}, {"[fe80::1%eth0]:80", false, false}, {"[]:80", false, false},
		{"*.example.org:80", false, false}, {"!host:80", false, false}, {"ho st:80", false, false}, {"host:80 any", false, false},
		{"host:80,any", false, false}, {`"host:80`, false, false}, {"'host':80", false, false},
		{`host\:80`, false, false}, {"#host:80", false, false},
		{"host=x:80", false, false}, {"host:80\nPermitOpen any", false, false}, {"host:80\n", false, false}, {"-host:80", false, false},
	} {
		_, err := Parse(fmt.Appendf(nil, "[session]\nforward = ['local']\npermit_open = [%s]\n", Text(c.text)))
		if (err == nil) != c.open {
			t.Errorf("permit_open of %q: %v", c.text, err)
		}
		_, err = Parse(fmt.Appendf(nil, "[session]\nforward = ['remote']\npermit_listen = [%s]\n", Text(c.text)))
		if (err == nil) != c.listen {
			t.Errorf("permit_listen of %q: %v", c.text, err)
		}
	}
}

// A profile that forwards less than the base has no use for the base's ports, and may not
// name ports of its own.
func TestForwardsOfProfiles(t *testing.T) {
	const base = "[session]\nforward = ['local', 'agent']\npermit_open = ['localhost:80']\n"
	c, err := Parse([]byte(base + "[profile.a]\ngroups = ['a']\n" +
		"[profile.b]\ngroups = ['b']\n[profile.b.session]\nforward = ['remote']\npermit_listen = ['8080']\n" +
		"[profile.c]\ngroups = ['c']\n[profile.c.session]\nforward = ['agent']\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		local, remote, agent bool
		open, listen         []string
	}{
		BaseProfile: {true, false, true, []string{"localhost:80"}, nil}, "a": {true, false, true, []string{"localhost:80"}, nil},
		"b": {false, true, false, nil, []string{"8080"}}, "c": {false, false, true, nil, nil},
	} {
		p, _ := c.Profile(name)
		if p.MayForward(Local) != want.local || p.MayForward(Remote) != want.remote || p.MayForward(Agent) != want.agent ||
			p.ForwardsPorts() != (want.local || want.remote) ||
			!slices.Equal(p.Session.PermitOpen, want.open) || !slices.Equal(p.Session.PermitListen, want.listen) {
			t.Errorf("%s: %+v", name, p.Session)
		}
	}
	if !c.ForwardsPorts() || (Config{Base: Default()}).ForwardsPorts() {
		t.Errorf("forwards ports: %t, and the default", c.ForwardsPorts())
	}
	_, err = Parse([]byte("[session]\npermit_open = ['h:1']\npermit_listen = ['1']\nforward = ['agent']\n" +
		"[profile.a]\ngroups = ['a']\n[profile.a.session]\npermit_open = ['h:2']\n"))
	const want = `berth.toml: profile.a.session.permit_open: means something only if session.forward has "local"; ` +
		`session.permit_listen: means something only if session.forward has "remote"; ` +
		`session.permit_open: means something only if session.forward has "local"`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
