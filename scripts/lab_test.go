// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// lab runs scripts/lab and returns what it prints.
func lab(t *testing.T, root string, args ...string) string {
	t.Helper()
	cmd := exec.Command("./lab", args...)
	cmd.Env = append(os.Environ(), "BERTH_LAB_ROOT="+root)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("lab %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

func containersOf(t *testing.T, dir string) string {
	t.Helper()
	name := "berth-" + strings.ReplaceAll(filepath.Base(dir), ".", "-")
	out, err := exec.Command("docker", "ps", "-aq", "--filter", "name=^"+name+"$").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// countProcesses counts the processes that are in a lab's namespace.
func countProcesses(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "upperdir="+dir+"/") {
			n++
		}
	}
	return n
}

// A lab changes nothing outside; two do not meet; one whose owner or holder died
// is cleared by the next up, processes, container and all.
func TestLab(t *testing.T) {
	root, err := os.MkdirTemp("", "berth-lab-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	before := host(t)
	owner := exec.Command("sleep", "3000")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	orphan := lab(t, root, "up", "--owner", fmt.Sprint(owner.Process.Pid))
	headless := lab(t, root, "up")
	if a, b := lab(t, root, "ssh", "--lab", orphan, "alice", "hostname"), lab(t, root, "ssh", "--lab", headless, "alice", "hostname"); a == b {
		t.Errorf("two labs are one: %s", a)
	}
	if now := host(t); now != before {
		t.Errorf("the host was changed:\n%s\nnow:\n%s", before, now)
	}
	_ = owner.Process.Kill()
	_ = owner.Wait()
	var holder int
	text, err := os.ReadFile(filepath.Join(headless, "holder"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &holder); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(holder, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	last := lab(t, root, "up")
	for _, dir := range []string{orphan, headless} {
		if _, err := os.Lstat(dir); err == nil || containersOf(t, dir) != "" || countProcesses(t, dir) != 0 {
			t.Errorf("%s was not cleared: %v, container %q, %d processes", dir, err, containersOf(t, dir), countProcesses(t, dir))
		}
	}
	lab(t, root, "down", "--lab", last)
	if containersOf(t, last) != "" || countProcesses(t, last) != 0 {
		t.Errorf("down left container %q, %d processes", containersOf(t, last), countProcesses(t, last))
	}
}

// host is what a lab could have changed of the real one.
func host(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "sha256sum /etc/passwd /etc/group /etc/shadow /etc/pam.d/sshd; ls -la /etc/ssh /home /dev/log /etc/berth /var/lib/berth /var/log/wtmp /var/log/lastlog 2>&1; grep -vc docker /proc/self/mountinfo").CombinedOutput()
	if len(out) == 0 {
		t.Fatal(err)
	}
	return string(out)
}
