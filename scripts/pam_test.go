// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// pam_systemd starts a service manager that runs what ~/.config/systemd/user
// says, on the host: a confined user's login must not come by it, an admin's
// must. pam_warn stands in for it, and logs that it was called.
func TestNoServiceManagerForTheConfined(t *testing.T) {
	root, err := os.MkdirTemp("", "berth-lab-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	dir := lab(t, root, "up")
	t.Cleanup(func() { lab(t, root, "down", "--lab", dir) })
	lab(t, root, "exec", "--lab", dir, "--", "sh", "-c",
		`cd "$(dirname "$(find /usr/lib /lib -name pam_warn.so | head -n 1)")" && cp pam_warn.so pam_systemd.so`)
	for _, user := range []string{"alice", "carol", "admin"} {
		lab(t, root, "ssh", "--lab", dir, user, "true")
	}
	text, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	called := func(user string) bool { return calledSystemd(string(text), user) }
	if called("alice") || called("carol") {
		t.Error("a confined user's login runs pam_systemd")
	}
	if !called("admin") {
		t.Error("the admin's login does not run pam_systemd")
	}
}

// calledSystemd reports whether a lab's log has the line of what stands in for
// pam_systemd, for a login of user.
func calledSystemd(log, user string) bool {
	return regexp.MustCompile(`pam_systemd\(sshd:session\).*pam_sm_open_session.*user=\[` + user + `\]`).MatchString(log)
}
