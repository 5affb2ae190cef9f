// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/helper/internal/policy"
)

// host has services of PAM in a directory of the test's.
func host(t *testing.T, services map[string]string) Host {
	t.Helper()
	dir := t.TempDir()
	for name, text := range services {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Host{Session: "/usr/libexec/berth/berth-session", PAM: []string{dir}}
}

func modules(entries []entry) string {
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(e.module, "pam_"), ".so"))
	}
	return strings.Join(names, " ")
}

// Which lines a login comes to, by the rules of libpam.
func TestReach(t *testing.T) {
	alice := account{name: "alice", uid: "1000", shell: "/bin/bash", groups: []string{"alice", "berth"}}
	admin := account{name: "admin", uid: "1001", shell: "/bin/bash", groups: []string{"admin", "admins"}}
	both := account{name: "both", uid: "1002", shell: "/bin/bash", groups: []string{"both", "berth", "admins"}}
	caged := account{name: "caged", uid: "1003", shell: "/usr/libexec/berth/berth-session", groups: []string{"caged"}}
	const guard = "session [success=1 default=ignore] pam_succeed_if.so quiet user ingroup admins\n" +
		"session [success=ignore default=2] pam_succeed_if.so quiet user notingroup berth\n" +
		"session [success=ignore default=1] pam_succeed_if.so quiet shell != /usr/libexec/berth/berth-session\n" +
		"-session optional pam_systemd.so\nsession optional pam_mail.so\n"
	const common = "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\n"
	for _, c := range []struct {
		name     string
		services map[string]string
		whose    account
		systemd  bool // may be reached
		mail     bool // is reached when all goes well
	}{
		{"guard: member", map[string]string{"sshd": guard}, alice, false, true},
		{"guard: admin", map[string]string{"sshd": guard}, admin, true, true},
		{"guard: both", map[string]string{"sshd": guard}, both, true, true},
		{"guard: login shell", map[string]string{"sshd": guard}, caged, false, true},
		{"included", map[string]string{"sshd": "@include c\n" + guard, "c": common}, alice, false, true},
		{"included by type", map[string]string{"sshd": "session include c\n", "c": "auth required pam_systemd.so\n" + guard}, alice, false, true},
		{"not guarded in an included file", map[string]string{"sshd": "@include c\n" + guard, "c": common + "session optional pam_systemd.so\n"}, alice, true, true},
		{"a jump counts a substack as one", map[string]string{
			"sshd": "session [success=1 default=ignore] pam_succeed_if.so user ingroup berth\nsession substack c\nsession optional pam_mail.so\n",
			"c":    "session optional pam_unix.so\nsession optional pam_systemd.so\n"}, alice, false, true},
		{"done ends a substack alone", map[string]string{
			"sshd": "session substack c\nsession optional pam_mail.so\n", "c": "session sufficient pam_permit.so\nsession optional pam_systemd.so\n"}, alice, false, true},
		{"done ends all", map[string]string{"sshd": "session sufficient pam_permit.so\n" + "session optional pam_systemd.so\nsession optional pam_mail.so\n"}, alice, false, false},
		{"what nobody knows may fail", map[string]string{"sshd": "session [success=1 default=ignore] pam_exec.so /x\n-session optional pam_systemd.so\nsession optional pam_mail.so\n"},
			alice, true, true},
		{"a condition nobody knows", map[string]string{"sshd": "session [success=1 default=ignore] pam_succeed_if.so rhost = x\nsession optional pam_systemd.so\nsession optional pam_mail.so\n"},
			alice, true, true},
		{"continued, commented, upper case", map[string]string{"sshd": "SESSION required \\\n pam_systemd.so # no\n#session required pam_mail.so\n"}, alice, true, false},
		{"an absolute path", map[string]string{"sshd": "session required /lib/security/pam_systemd.so\nsession [ success=ok default=ignore ] pam_mail.so a=[b c]\n"}, alice, true, true},
		{"no line: the service other", map[string]string{"sshd": "auth required pam_deny.so\n", "other": "session required pam_systemd.so\nsession required pam_mail.so\n"}, alice, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := host(t, c.services)
			entries, err := h.readStack("sshd", "session")
			if err != nil {
				t.Fatal(err)
			}
			may, does := modules(h.reach(entries, c.whose, false)), modules(h.reach(entries, c.whose, true))
			if got := strings.Contains(may, "systemd"); got != c.systemd {
				t.Errorf("pam_systemd may be reached: %t, want %t (%s)", got, c.systemd, may)
			}
			if got := strings.Contains(does, "mail"); got != c.mail {
				t.Errorf("pam_mail is reached: %t, want %t (%s)", got, c.mail, does)
			}
		})
	}
}

// Each confined user comes to both of berth's lines, the container's last, and nobody else to
// that.
func TestContainerLine(t *testing.T) {
	stock, err := os.ReadFile("../../../../sshd/pam.d/sshd")
	if err != nil {
		t.Fatal(err)
	}
	ours := strings.NewReplacer("@include", "#").Replace(string(stock))
	of := func(name, shell string, groups ...string) account {
		return account{name: name, uid: "1000", shell: shell, groups: append([]string{name}, groups...)}
	}
	const bash, caged = "/bin/bash", "/usr/libexec/berth/berth-session"
	alice, cage, chief := of("alice", bash, "berth"), of("cage", caged), of("chief", caged, "admins")
	const home, container = "session required pam_berth.so\n", "session required pam_berth.so container\n"
	const noHome, notReady, notLast = "no home and no names", "not made ready", "not complete"
	for name, c := range map[string]struct {
		stack string
		whose account
		says  string
	}{
		"as installed":                   {ours, alice, ""},
		"as installed, by login shell":   {ours, cage, ""},
		"as installed, both":             {ours, chief, ""},
		"simple":                         {home + container, alice, ""},
		"with SELinux":                   {home + container + "session required pam_selinux.so open\n", alice, ""},
		"no line for the container":      {home, alice, notReady},
		"no line for the home":           {container, alice, noHome},
		"something behind it":            {home + container + "session optional pam_lastlog.so\n", alice, "pam_lastlog.so, comes after"},
		"the home behind it":             {container + home, alice, notLast},
		"skipped":                        {home + "session [success=1 default=ignore] pam_succeed_if.so user ingroup berth\n" + container, alice, notReady},
		"of her group":                   {home + "session required pam_berth.so group=staff,berth container\n", alice, ""},
		"of another group":               {home + "session required pam_berth.so container group=berth group=staff\n", alice, notReady},
		"a login shell is in no group":   {home + "session required pam_berth.so container group=berth\n", cage, notReady},
		"a home for another group alone": {"session required pam_berth.so group=staff\n" + container, alice, noHome},
	} {
		var r Report
		h := host(t, map[string]string{"sshd": c.stack})
		h.Modules = h.PAM
		if err := os.WriteFile(filepath.Join(h.PAM[0], "pam_berth.so"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		h.judgeStack(&r, []*question{{account: c.whose, confine: true}}, "sshd")
		if (c.says == "") != (len(r.Problems) == 0) || !strings.Contains(fmt.Sprint(r.Problems), c.says) {
			t.Errorf("%s: %+v, want %q", name, r.Problems, c.says)
		}
	}
	// Who may forward ports is named once more: their connections lead nowhere.
	forwards := question{account: alice, confine: true}
	forwards.policy.Profile, forwards.policy.Session.Forward = "ports", []string{policy.Local}
	for stack, want := range map[string]bool{ours: false, home: true, home + container + "session optional pam_lastlog.so\n": true} {
		var r Report
		h := host(t, map[string]string{"sshd": stack})
		h.judgeStack(&r, []*question{&forwards}, "sshd")
		i := slices.IndexFunc(r.Problems, func(p Problem) bool { return p.NoLogins })
		if (i >= 0) != want {
			t.Errorf("%s\n%+v", stack, r.Problems)
			continue
		}
		if p := r.Problems[max(i, 0)]; want && (!p.Forwards || p.Minor || !slices.Equal(p.Profiles, []string{"ports"})) {
			t.Errorf("%s\n%+v", stack, p)
		}
	}
	h := host(t, map[string]string{"sshd": ours})
	for _, a := range []account{of("admin", bash, "admins"), of("both", bash, "berth", "admins"), of("other", bash)} {
		entries, err := h.readStack("sshd", "session")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range h.reach(entries, a, false) {
			if slices.Contains(e.args, "container") {
				t.Errorf("%s comes to %s", a.name, e)
			}
		}
	}
}

// A stack that cannot be read is no stack without faults.
func TestStackThatCannotBeRead(t *testing.T) {
	for name, services := range map[string]map[string]string{
		"a file is missing":   {"sshd": "@include gone\n"},
		"it includes itself":  {"sshd": "@include sshd\n"},
		"a loop of substacks": {"sshd": "session substack a\n", "a": "session substack sshd\n"},
	} {
		h := host(t, services)
		var r Report
		h.judgeStack(&r, []*question{{account: account{name: "alice"}, confine: true}}, "sshd")
		if len(r.Problems) != 1 || r.Problems[0].Effect != "nobody knows what users get" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// The drop-in says what is demanded here, and the other way round.
func TestDropInIsWhatIsDemanded(t *testing.T) {
	c := readConf("../../../../sshd/50-berth.conf")
	has := func(key, value string) bool {
		return slices.ContainsFunc(c.lines, func(l line) bool {
			return l.key == key && l.value == value && l.block != nil && l.block.criteria["group"] == Group+",!"+adminGroup
		})
	}
	for _, d := range demands {
		if d.key != "permituserenvironment" && !has(d.key, d.want) { // which no Match may have
			t.Errorf("the drop-in does not say %s %s", d.key, d.want)
		}
	}
	for _, k := range Forwarding(policy.Policy{}) {
		ports := k.Name == "PermitOpen" || k.Name == "PermitListen" // none are forwarded anyway
		if !ports && !has(strings.ToLower(k.Name), k.Value) {
			t.Errorf("the drop-in does not say %s %s", k.Name, k.Value)
		}
	}
	if !has("setenv", strings.Join(environment, " ")) {
		t.Error("the drop-in's SetEnv is another")
	}
	for _, l := range c.lines {
		known := slices.ContainsFunc(demands, func(d demand) bool { return d.key == l.key })
		switch l.key {
		case "disableforwarding", "allowtcpforwarding", "allowagentforwarding": // forward.go
		case "match", "forcecommand", "setenv", "authorizedkeysfile", "permittty", "exposeauthinfo":
		default:
			if !known {
				t.Errorf("nobody checks %s %s", l.key, l.value)
			}
		}
	}
}

// Lines as sshd_config may have them.
func TestWords(t *testing.T) {
	for raw, want := range map[string][]string{
		"":                                nil,
		"  # comment":                     nil,
		"Port=22":                         {"Port", "22"},
		"SetEnv A=b C=\"d e\" # f":        {"SetEnv", "A=b", "C=d e"},
		"\tMatch Group \"a b\",c User  d": {"Match", "Group", "a b,c", "User", "d"},
	} {
		if got := words(raw); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}
