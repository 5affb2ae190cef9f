// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkOpen compares an opening of a session with everything in place, and a
// first one, with pam_mkhomedir's and with that of pam_exec and a script like
// the seed's. Medians of one run, in microseconds.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	script := filepath.Join(dir, "userlogin.sh")
	text := "#!/bin/sh\nh=$(getent passwd \"$PAM_USER\" | cut -d: -f6)\nif [ ! -d \"$h/.ssh\" ]; then mkdir -p \"$h/.ssh\"; touch \"$h/.ssh/authorized_keys\"; chmod 644 \"$h/.ssh/authorized_keys\"; fi\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		b.Fatal(err)
	}
	lines := map[string]string{
		"berth": built.module, "mkhomedir": "pam_mkhomedir.so", "exec": "pam_exec.so " + script,
	}
	for _, state := range []struct {
		name   string
		rounds int
	}{{"in place", 500}, {"first", 1}} {
		us := map[string]float64{}
		for name, line := range lines {
			us[name] = median(b, line, state.name == "first", state.rounds)
		}
		b.Run(state.name, func(b *testing.B) {
			for range b.N {
				// Measured above, in one process each: what counts is one open.
				_ = us
			}
			b.ReportMetric(us["berth"], "berth-us")
			b.ReportMetric(us["mkhomedir"], "mkhomedir-us")
			b.ReportMetric(us["exec"], "exec-us")
			b.ReportMetric(us["berth"]/us["mkhomedir"], "berth/mkhomedir")
			b.ReportMetric(us["berth"]/us["exec"], "berth/exec")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// median opens a session rounds times in one process; for a first open it does
// so in a new home 21 times and takes the middle one.
func median(b *testing.B, line string, first bool, rounds int) float64 {
	b.Helper()
	dir, err := os.MkdirTemp("", "pam_bench")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	script := fmt.Sprintf(`set -e; umask 022; chmod 755 %[1]s; cd %[1]s; mkdir home pam.d
echo 'nina:x:4711:4711::/home/nina:/bin/sh' >passwd; echo 'session required %[2]s' >pam.d/test
mount --bind passwd /etc/passwd; mount --bind home /home; cd /
if [ %[3]v = true ]; then
	for i in $(seq 21); do rm -rf /home/nina; %[4]s %[1]s/pam.d test nina bench 1; done | sort -k2n | sed -n 11p
else
	%[4]s %[1]s/pam.d test nina bench 1 >/dev/null; %[4]s %[1]s/pam.d test nina bench %[5]d
fi`, dir, line, first, built.host, rounds)
	out, err := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script).CombinedOutput()
	var ns float64
	if _, serr := fmt.Sscanf(strings.TrimSpace(string(out)), "median %f", &ns); err != nil || serr != nil {
		b.Fatalf("%s: %v, %v: %s", line, err, serr, out)
	}
	return ns / 1000
}
