// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An installation below DESTDIR has every file, keeps what the administrator
// wrote, and leaves that alone when it is taken away.
func TestInstallAndUninstall(t *testing.T) {
	dest := t.TempDir()
	make := func(target string) {
		t.Helper()
		cmd := exec.Command("make", "-s", "-C", "..", target, "DESTDIR="+dest, "PREFIX=/usr", "PAM_MODULE_DIR=/lib/security")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
	}
	config := filepath.Join(dest, "etc/berth/berth.toml")
	make("install")
	// Names of before 0.1: one holds a right, the other serves the sessions that it opened.
	for _, name := range []string{"berth-session-docker", "guest/berth-enter"} {
		if err := os.WriteFile(filepath.Join(dest, "usr/libexec/berth", name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(config, []byte("[users]\nuid_min = 2000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	make("install")
	for name, mode := range map[string]os.FileMode{
		"usr/sbin/berth": 0o755, "usr/libexec/berth/berth-session": 0o755, "usr/libexec/berth/guest/berth-guest": 0o711,
		"lib/security/pam_berth.so": 0o755, "usr/libexec/berth/install-sshd": 0o755,
		"usr/share/berth/50-berth.conf": 0o644, "usr/share/berth/pam.d-sshd": 0o644, "usr/share/berth/seccomp.json": 0o644,
		"usr/share/man/man8/pam_berth.8": 0o644, "usr/share/man/man8/berth.8": 0o644, "usr/share/man/man5/berth.toml.5": 0o644, "usr/share/man/man7/berth-log.7": 0o644,
		"usr/share/pam-configs/berth": 0o644,
		"etc/berth/authorized_keys":   os.ModeDir | 0o755,
	} {
		st, err := os.Stat(filepath.Join(dest, name))
		if err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", name, st, err, mode)
		}
	}
	if _, err := os.Stat(filepath.Join(dest, "usr/libexec/berth/berth-session-docker")); !os.IsNotExist(err) {
		t.Errorf("berth-session-docker is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dest, "usr/libexec/berth/guest/berth-enter")); err != nil {
		t.Errorf("open sessions have lost berth-enter: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dest, "etc/ssh")); !os.IsNotExist(err) {
		t.Errorf("it turns something on: %v", err)
	}
	make("uninstall")
	text, err := os.ReadFile(config)
	if err != nil || !strings.Contains(string(text), "2000") {
		t.Errorf("the configuration: %q, %v", text, err)
	}
	var left []string
	err = filepath.WalkDir(dest, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path != config {
			left = append(left, path)
		}
		return err
	})
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}
