// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"os"
	"strings"
	"testing"

	"berth/test/labs"
)

const (
	marker     = "/var/lib/berth/forwarding"
	site       = "/etc/ssh/sshd_config.d/20-site.conf"
	berthTOML  = "/etc/berth/berth.toml"
	forwarding = `
[profile.local]
users = ["alice"]
[profile.local.session]
forward = ["local"]
[profile.none]
users = ["bob"]
[profile.ports]
groups = ["potters"]
[profile.ports.session]
forward = ["local", "remote"]
permit_open = ["localhost:8080"]
`
)

// effective is what sshd says of user, of these keywords.
func effective(t *testing.T, l *labs.Lab, user string, keys ...string) string {
	t.Helper()
	var values []string
	out := l.Exec(t, "/usr/sbin/sshd", "-T", "-C", "user="+user+",host=h,addr=127.0.0.1,laddr=127.0.0.1,lport=22")
	for _, key := range keys {
		for line := range strings.Lines(out) {
			if value, found := strings.CutPrefix(line, key+" "); found {
				values = append(values, strings.TrimSpace(value))
			}
		}
	}
	return strings.Join(values, ", ")
}

// edit replaces a part of berth.toml.
func edit(t *testing.T, l *labs.Lab, old, replacement string) {
	t.Helper()
	text := l.Exec(t, "cat", berthTOML)
	if !strings.Contains(text, old) {
		t.Fatalf("no %q in\n%s", old, text)
	}
	path := l.Path("edited")
	if err := os.WriteFile(path, []byte(strings.Replace(text, old, replacement, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	l.Exec(t, "cp", path, berthTOML)
}

// sshd forwards what berth.toml says once the drop-in says it, too; until then berth says how they differ.
func TestSSHDConfig(t *testing.T) {
	l := labs.New(t, forwarding)
	is := func(user, want string) {
		t.Helper()
		got := effective(t, l, user, "disableforwarding", "allowtcpforwarding", "permitopen", "permitlisten", "allowagentforwarding")
		if got != want {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
	}
	says := func(r labs.Result, status int, words ...string) {
		t.Helper()
		if r.Status != status {
			t.Errorf("status %d, want %d: %+v", r.Status, status, r)
		}
		for _, want := range words {
			if !strings.Contains(r.Out+r.Err, want) {
				t.Errorf("does not say %q: %+v", want, r)
			}
		}
	}
	marked := func(want bool) {
		t.Helper()
		if r := l.Try("stat", "-c", "%U %a %s", marker); (r.Out == "root 644 6\n") != want || (r.Status == 0) != want { // "users\n": profiles have some by name
			t.Errorf("the marker, which should be there: %t: %+v", want, r)
		}
	}
	stock, err := os.ReadFile("../sshd/50-berth.conf")
	if err != nil {
		t.Fatal(err)
	}
	const closed = "yes, no, none, none, no"
	const plain = "yes, no, any, any, no"
	opened := l.Exec(t, "cat", dropIn)
	is("alice", "no, local, any, none, no")
	is("bob", closed) // who is a potter, too
	is("carol", "no, yes, localhost:8080, any, no")
	is("dave", plain)
	is("admin", "no, yes, any, any, yes")
	says(l.Try("berth", "check"), 0, "confined  alice bob")
	says(l.Try("berth", "status"), 0)
	marked(true)

	// sshd allows more than berth.toml does, and the marker stays until it does not.
	edit(t, l, `forward = ["local"]`, `forward = []`)
	edit(t, l, `forward = ["local","remote"]`, `forward = ["local","agent"]`)
	more := "confined users may forward ports by ssh -L, -D and -W, but session.forward does not allow that"
	for _, verb := range []string{"check", "up"} {
		says(l.Try("berth", verb), 1, more, "for alice: AllowTcpForwarding is local", "for carol: AllowTcpForwarding is yes",
			"confined users may forward less than berth.toml says", "for carol: AllowAgentForwarding is no", "berth sshd-config --install")
	}
	says(l.Try("berth", "status"), 0, "note        "+more)
	says(l.Try("berth", "sshd-config", "--install"), 0, dropIn+" is in place", "reload sshd now")
	is("alice", closed)
	is("carol", "no, local, localhost:8080, none, yes")
	edit(t, l, `forward = ["local","agent"]`, `forward = []`)
	edit(t, l, `permit_open = ["localhost:8080"]`, ``)
	says(l.Try("berth", "up"), 1, more)
	marked(true)
	says(l.Try("berth", "sshd-config", "--install"), 0, dropIn+" is in place")
	marked(false)
	if got := l.Exec(t, "cat", dropIn); got != string(stock) || l.Exec(t, "berth", "sshd-config") != got {
		t.Errorf("nobody forwards, and the drop-in is not the package's:\n%s", got)
	}
	if r := l.Try("berth", "sshd-config", "--install"); r.Status != 0 || strings.Contains(r.Err, "in place") {
		t.Errorf("once more: %+v", r)
	}

	// sshd allows less: nobody is in danger, so that is no failure.
	edit(t, l, "forward = []", `forward = ["local"]`)
	edit(t, l, "forward = []", `forward = ["local","remote"]`+"\n"+`permit_open = ["localhost:8080"]`)
	for _, verb := range []string{"check", "status"} {
		says(l.Try("berth", verb), 0, "confined users may forward less than berth.toml says",
			"for alice, carol: DisableForwarding is yes", "berth sshd-config --install")
	}
	says(l.Try("berth", "up"), 0)
	marked(true)

	// What sshd or berth check complain of changes nothing.
	for name, c := range map[string]struct {
		spoil, mend string
		says        []string
	}{
		"another file opens more": {`printf 'Match User bob\n    AllowTcpForwarding yes\n    DisableForwarding no\n' >` + site, "rm " + site,
			[]string{more, "for bob: AllowTcpForwarding is yes", "20-site.conf:2 says", dropIn + " is as it was"}},
		"no line of PAM leads into the container": {"cp " + pamSSHD + " /run/stack; sed -i '/pam_berth.so container/d' " + pamSSHD,
			"cp /run/stack " + pamSSHD, []string{"confined users who may forward ports get no session",
				"its last session line is not pam_berth.so container", dropIn + " is as it was"}},
		"one that is not the last": {"cp " + pamSSHD + " /run/stack; echo 'session optional pam_permit.so' >>" + pamSSHD,
			"cp /run/stack " + pamSSHD, []string{"confined users who may forward ports get no session", dropIn + " is as it was"}},
		"sshd takes nothing": {"echo Nonsense >" + site, "rm " + site, []string{"nothing is changed: sshd -t"}},
		"berth.toml is wrong": {"cp " + berthTOML + " /run/toml; sed -i 's/\"remote\"/\"remoet\"/' " + berthTOML, "cp /run/toml " + berthTOML,
			[]string{"profile.ports.session.forward: must be a list of"}},
		"a name is a pattern": {"cp " + berthTOML + " /run/toml; sed -i 's/\"potters\"/\"pot*\"/' " + berthTOML, "cp /run/toml " + berthTOML,
			[]string{`would take "pot*" for a pattern`}},
	} {
		before := editedFiles(t, l)
		l.Exec(t, "sh", "-c", c.spoil)
		r := l.Try("berth", "sshd-config", "--install")
		says(r, 1, c.says...)
		l.Exec(t, "sh", "-c", c.mend)
		if after := editedFiles(t, l); after != before {
			t.Errorf("%s: files differ:\n%s\n--- now:\n%s", name, before, after)
		}
	}

	// What an administrator wrote into it stays; what it lacks then is said.
	l.Exec(t, "sh", "-c", "echo '# ours' >>"+dropIn)
	says(l.Try("berth", "sshd-config", "--install"), 1, dropIn+" was edited and stays", "for alice, carol: DisableForwarding is yes")
	if got := l.Exec(t, "cat", dropIn); got != string(stock)+"# ours\n" {
		t.Errorf("an edited drop-in is lost:\n%s", got)
	}
	l.Exec(t, "sh", "-c", "(berth sshd-config; echo '# ours') >"+dropIn)
	says(l.Try("berth", "sshd-config", "--install"), 0, dropIn+" was edited and stays")
	l.Exec(t, "sh", "-c", "cp /var/lib/berth/installed/50-berth.conf "+dropIn+"; chmod 600 "+dropIn)
	says(l.Try("berth", "sshd-config", "--install"), 0, dropIn+" is in place")
	if got := l.Exec(t, "cat", dropIn); got != opened {
		t.Errorf("not as the lab was raised with:\n%s", got)
	}
	if got := l.Exec(t, "sh", "-c", "stat -c '%U %a' "+dropIn+"; ls /etc/ssh/sshd_config.d"); got != "root 600\n10-lab.conf\n50-berth.conf\n" {
		t.Errorf("left: %s", got)
	}

	// Then status names a stack that does not lead into the container, and fails.
	says(l.Try("berth", "status"), 0)
	l.Exec(t, "sed", "-i", "/pam_berth.so container/d", pamSSHD)
	for _, verb := range []string{"check", "up", "status"} {
		says(l.Try("berth", verb), 1, "confined users who may forward ports get no session")
	}
}

// Names of groups that may stand in a Match line are to sshd what they are to berth.
func TestNamesInMatch(t *testing.T) {
	l := labs.New(t, "")
	for _, name := range []string{"a.b", "a+b", "a$", "_a", "0a", "a@example.org", "müller", "a-b"} {
		l.Exec(t, "sh", "-c", `sed -i /:31999:/d /etc/group; echo "$1:x:31999:dave" >>/etc/group; cp /etc/berth/berth.toml /run/toml
printf '[profile.odd]\ngroups = ["%s"]\n[profile.odd.session]\nforward = ["agent"]\n' "$1" >>/etc/berth/berth.toml
berth sshd-config --install; status=$?; cp /run/toml /etc/berth/berth.toml; exit $status`, "sh", name)
		dave, erin := effective(t, l, "dave", "allowagentforwarding"), effective(t, l, "erin", "allowagentforwarding")
		if dave != "yes" || erin != "no" {
			t.Errorf("%s: of dave, who is a member, sshd says %s, and of erin %s", name, dave, erin)
		}
	}
}

// An installation that is interrupted while it asks sshd leaves what was there.
func TestSSHDConfigInterrupted(t *testing.T) {
	l := labs.New(t, "")
	edit(t, l, "[[container.mount]]", "[session]\nforward = [\"local\"]\n[[container.mount]]")
	// This sshd never answers.
	l.Exec(t, "sh", "-c", `mv /usr/sbin/sshd /usr/sbin/sshd-real
printf '#!/bin/sh\ncase $1 in -T) touch /run/asked; exec sleep 600;; esac\nexec /usr/sbin/sshd-real "$@"\n' >/usr/sbin/sshd
chmod 755 /usr/sbin/sshd`)
	before := editedFiles(t, l)
	r := l.Try("sh", "-c", `berth sshd-config --install & pid=$!
for i in $(seq 600); do [ ! -e /run/asked ] || break; sleep 0.1; done
grep -c 'AllowTcpForwarding local' `+dropIn+`; kill "$pid"; wait "$pid"`)
	if r.Status != 1 || r.Out != "1\n" || !strings.Contains(r.Err, dropIn+" is as it was") {
		t.Errorf("%+v", r)
	}
	if after := editedFiles(t, l); after != before {
		t.Errorf("files differ:\n%s\n--- now:\n%s", before, after)
	}
	l.Exec(t, "mv", "/usr/sbin/sshd-real", "/usr/sbin/sshd")
	if r := l.Try("berth", "sshd-config", "--install"); r.Status != 0 || !strings.Contains(r.Err, dropIn+" is in place") {
		t.Errorf("once more: %+v", r)
	}
}
