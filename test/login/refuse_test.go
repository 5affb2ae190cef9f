// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// refusal checks that nobody got in, in one line with an id, and returns the
// line of the log that has the reason.
func (l *Lab) refusal(t *testing.T, r Result, words ...string) string {
	t.Helper()
	line := strings.TrimSpace(r.Err)
	id := regexp.MustCompile(`^berth: .* \(id ([0-9a-f]{8}(?:-[0-9a-f]{8})?)\)$`).FindStringSubmatch(line)
	if r.Status != 255 || r.Out != "" || id == nil {
		t.Fatalf("not one line with an id and status 255: %+v", r)
	}
	for _, word := range words {
		if !strings.Contains(line, word) {
			t.Errorf("%q does not say %q", line, word)
		}
	}
	return l.awaitLog(t, "id="+id[1], "reason=")
}

func TestRefusedAccounts(t *testing.T) {
	r := finish(lab.Command(berthSession))
	lab.refusal(t, r, "root")
	lab.refusal(t, finish(lab.asUser("games", nil, berthSession)), "games", "not one of this gateway's users")
	unknown := lab.Command("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", berthSession)
	lab.refusal(t, finish(unknown), "not known")
	// A member of the engine's group is root on the host.
	engine := strings.TrimSpace(lab.Exec(t, "stat", "-L", "-c", "%g", "/run/docker.sock"))
	member := lab.Command("setpriv", "--reuid", "alice", "--regid", "alice", "--groups", engine, berthSession)
	lab.refusal(t, finish(member), "engine's group")
}

func TestArguments(t *testing.T) {
	env := []string{"SSH_ORIGINAL_COMMAND=id -un"}
	for _, args := range [][]string{nil, {"%u"}, {"alice"}} {
		if r := finish(lab.asUser("alice", env, append([]string{berthSession}, args...)...)); r.Out != "alice\n" {
			t.Errorf("%q: %+v", args, r)
		}
	}
	for _, args := range [][]string{{"bob"}, {"root"}} {
		log := lab.refusal(t, finish(lab.asUser("alice", env, append([]string{berthSession}, args...)...)), "names another account")
		if !strings.Contains(log, args[0]) {
			t.Errorf("the log does not name %q: %s", args[0], log)
		}
	}
	lab.refusal(t, finish(lab.asUser("alice", env, berthSession, "--help")), "refused")
	// As a login shell.
	if r := finish(lab.asUser("alice", nil, berthSession, "-c", "id -un; exit 4")); r.Out != "alice\n" || r.Status != 4 {
		t.Errorf("-c: %+v", r)
	}
}

// With a wrong berth.toml nobody gets in; the user sees no key and no value,
// the log every key.
func TestWrongConfig(t *testing.T) {
	l := newLab(t, "")
	good := l.Exec(t, "cat", "/etc/berth/berth.toml")
	l.Exec(t, "sh", "-c", `printf '%s\n' '[container]' 'nmae = "hunter2"' 'pids_limit = -3' '[sesion]' 'x = 1' '[users]' 'uid_min = "x"' >/etc/berth/berth.toml`)
	r := finish(l.SSH("alice", "id"))
	log := l.refusal(t, r, "misconfigured")
	for _, key := range []string{"container.nmae", "container.pids_limit", "sesion", "users.uid_min"} {
		if !strings.Contains(log, key) {
			t.Errorf("the log does not name %s: %s", key, log)
		}
		if strings.Contains(r.Err, key) {
			t.Errorf("the user sees %s: %s", key, r.Err)
		}
	}
	if strings.Contains(log+r.Err, "hunter2") {
		t.Errorf("a value was told: %s%s", r.Err, log)
	}
	for name, spoil := range map[string]string{
		"missing":  "rm /etc/berth/berth.toml",
		"writable": "chmod 666 /etc/berth/berth.toml",
		"hers":     "chmod 644 /etc/berth/berth.toml; chown alice /etc/berth/berth.toml",
		"a FIFO":   "rm /etc/berth/berth.toml; mkfifo /etc/berth/berth.toml",
	} {
		path := t.TempDir() + "/good"
		if err := os.WriteFile(path, []byte(good), 0o644); err != nil {
			t.Fatal(err)
		}
		l.Exec(t, "sh", "-c", "rm -f /etc/berth/berth.toml; cp "+path+" /etc/berth/berth.toml; "+spoil)
		t.Log(name)
		l.refusal(t, finish(l.SSH("alice", "id")))
	}
	if r := finish(l.SSH("admin", "id -un; hostname")); r.Status != 0 {
		t.Errorf("the admin is out too: %+v", r)
	}
}

// berth-session as the account's login shell, with the ForceCommand and without.
func TestLoginShell(t *testing.T) {
	l := newLab(t, "")
	l.Exec(t, "usermod", "-s", berthSession, "bob")
	check := func() {
		t.Helper()
		if r := finish(l.SSH("bob", "echo $SHELL; id -un; exit 3")); r.Out != "/bin/bash\nbob\n" || r.Status != 3 {
			t.Errorf("command: %+v", r)
		}
		s := l.shell(t, "bob")
		if got := s.ask("echo $0 $(id -un)"); got != "-bash bob" {
			t.Errorf("shell: %q", got)
		}
		s.send("exit\r")
		s.end()
	}
	check()
	l.Exec(t, "gpasswd", "-d", "bob", "berth") // no Match block is his any more
	check()
	if r := l.Try("su", "-", "bob", "-c", "id -un; pwd"); r.Out != "bob\n/home/bob\n" {
		t.Errorf("su: %+v", r)
	}
}
