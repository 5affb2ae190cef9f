// SPDX-License-Identifier: Apache-2.0

//go:build hosts

package hosts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/test/labs"
)

// login: with her key, without a terminal, alice is in the container as herself,
// under the engine's AppArmor profile, and her command's status is ssh's.
func login(t *testing.T, h *Host) {
	want := h.Run(t, "id alice")
	r := h.SSH("alice", `id; pwd; test -e /.dockerenv && echo contained; cat /proc/self/attr/current; exit 42`)
	if r.Status != 42 || r.Out != want+"/home/alice\ncontained\ndocker-default (enforce)\n" {
		t.Errorf("alice by key: %+v, want id %q", r, want)
	}
	if log := h.Run(t, "journalctl -b -t berth-session --no-pager"); !regexp.MustCompile(`session ended id=\S+ user=alice reason=exit status=42`).MatchString(log) {
		t.Errorf("the journal has no end of alice's session:\n%s", log)
	}
}

// password: bob has no home and no key; his first login makes the home.
func password(t *testing.T, h *Host) {
	if r := h.SSH("bob", "-o", "BatchMode=yes", "true"); r.Status != 255 {
		t.Errorf("bob without his password: %+v", r)
	}
	askpass := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(askpass, []byte("#!/bin/sh\necho berth\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := h.Client("ssh", "-o", "PubkeyAuthentication=no", "bob", "test -e /.dockerenv && id -un && pwd")
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force")
	if r := labs.FinishIn(cmd, Patience); r.Status != 0 || r.Out != "bob\n/home/bob\n" {
		t.Errorf("bob by password: %+v", r)
	}
	if owner := h.Run(t, "stat -c %U:%G /home/bob"); owner != "bob:bob\n" {
		t.Errorf("bob's home belongs to %q", owner)
	}
}

// typed: a person types the password and some commands into a terminal. expect
// waits for what they see before they type on.
func typed(t *testing.T, h *Host) {
	const person = `
set timeout 300
set stty_init "rows 37 cols 101"
set env(TERM) xterm
proc must {pattern} {
	expect {
		-re $pattern {}
		timeout { puts "\n(never seen: $pattern)"; exit 1 }
		eof { puts "\n(ended before: $pattern)"; exit 1 }
	}
}
spawn -noecho ssh -F $env(CONFIG) -o PubkeyAuthentication=no alice
must {assword:}
send "berth\r"
must {[$] }
send "whoami; tty; stty size; echo \$0; cat /proc/self/attr/current\r"
must {alice\r\n/dev/pts/[0-9]+\r\n37 101\r\n-bash\r\ndocker-default \(enforce\)\r\n}
must {[$] }
send "exit 7\r"
expect eof
exit [lindex [wait] 3]
`
	cmd := exec.Command("expect", "-f", "-")
	cmd.Stdin = strings.NewReader(person)
	cmd.Env = append(os.Environ(), "CONFIG="+h.path("ssh_config"))
	if r := labs.FinishIn(cmd, 2*Patience); r.Status != 7 {
		t.Errorf("alice in a terminal: status %d, want 7\n%s%s", r.Status, r.Out, r.Err)
	}
}

// files: what sftp brings is hers on the host, and comes back as it was.
func files(t *testing.T, h *Host) {
	dir := t.TempDir()
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	text := strings.Repeat("brought by sftp\n", 10000)
	if err := os.WriteFile(there, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := h.Client("sftp", "-q", "-b", "-", "alice")
	cmd.Stdin = strings.NewReader("put " + there + " copy\nget copy " + back + "\n")
	if r := labs.FinishIn(cmd, Patience); r.Status != 0 {
		t.Fatalf("sftp: %+v", r)
	}
	if got, err := os.ReadFile(back); err != nil || string(got) != text {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(text), err)
	}
	if owner := h.Run(t, "stat -c '%U:%G %s' /home/alice/copy"); owner != "alice:alice 160000\n" {
		t.Errorf("on the host: %q", owner)
	}
}

// serviceManager: systemd starts none on the host for alice, whose files could
// tell it what to run; for the administrator it does, and runs the same unit.
func serviceManager(t *testing.T, h *Host) {
	for _, user := range []string{"alice", "admin"} {
		h.Run(t, "su "+user+` -s /bin/sh -c 'mkdir -p ~/.config/systemd/user/default.target.wants && cd ~/.config/systemd/user
			printf "[Service]\nType=oneshot\nExecStart=/usr/bin/touch %s/ran\n" ~ >unit.service && ln -s ../unit.service default.target.wants/'`)
	}
	during := func(user string) string {
		if in := converse(t, h, user)("echo in"); in != "in" {
			t.Fatalf("%s's session: %q", user, in)
		}
		state := h.Try("systemctl is-active user@$(id -u " + user + ").service || true; systemctl --quiet is-active user-$(id -u " + user + ").slice && echo slice; true").Out
		return strings.Join(strings.Fields(state), " ")
	}
	if state := during("alice"); state != "inactive" {
		t.Errorf("systemd has something of alice's on the host: %s", state)
	}
	if state := during("admin"); state != "active slice" {
		t.Errorf("the administrator's service manager: %s", state)
	}
	// By now the administrator's unit has run, and alice's would have, too.
	if ran := h.Run(t, "ls -d /home/*/ran"); ran != "/home/admin/ran\n" {
		t.Errorf("units ran on the host: %q, want the administrator's alone", ran)
	}
}

// admin: the administrator has the host, and may become root there.
func admin(t *testing.T, h *Host) {
	r := h.SSH("admin", "test ! -e /.dockerenv && hostname && id -un && cat /proc/1/comm && echo berth | sudo -S -p '' berth status")
	if r.Status != 0 || !strings.HasPrefix(r.Out, "berth-host\nadmin\nsystemd\n") || !strings.Contains(r.Out, "running") {
		t.Errorf("the administrator: %+v", r)
	}
}

// reboot: nobody does anything after it, and logins go on.
func reboot(t *testing.T, h *Host) {
	h.Restart(t)
	login(t, h)
	admin(t, h)
}
