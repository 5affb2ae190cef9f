// SPDX-License-Identifier: Apache-2.0

//go:build hosts

package hosts

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// releases are the hosts, with the versions that they are here for.
var releases = []struct{ name, openssh, engine string }{
	{name: "12", openssh: "9.2", engine: "20.10"},
	{name: "13", openssh: "10.0", engine: "26.1"},
}

// steps are taken in this order, each on the host that the one before left.
var steps = []struct {
	name string
	take func(*testing.T, *Host)
}{
	{"Install", install},
	{"Login", login},
	{"Password", password},
	{"Terminal", typed},
	{"Files", files},
	{"ServiceManager", serviceManager},
	{"Admin", admin},
	{"Reboot", reboot},
	{"Memory", memory},
	{"Own", own},
}

// TestHosts takes each release's host through all steps, both hosts at once.
func TestHosts(t *testing.T) {
	began := time.Now()
	var mu sync.Mutex
	var report []string
	t.Cleanup(func() {
		fmt.Printf("%s\nhosts: %v in total\n", strings.Join(report, "\n"), time.Since(began).Round(time.Second))
	})
	for _, release := range releases {
		t.Run("Debian"+release.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			image, err := Prepare(release.name)
			if err != nil {
				t.Fatal(err)
			}
			prepared := time.Now()
			h := Boot(t, image)
			booted := time.Now()
			said := versions(t, h, release.openssh, release.engine)
			t.Cleanup(func() {
				mu.Lock()
				defer mu.Unlock()
				report = append(report, fmt.Sprintf("hosts: Debian %s: %v (cache %v, boot %v, steps %v); %s", release.name,
					time.Since(began).Round(time.Second), prepared.Sub(began).Round(time.Second), booted.Sub(prepared).Round(time.Second),
					time.Since(booted).Round(time.Second), said))
			})
			for _, step := range steps {
				if !t.Run(step.name, func(t *testing.T) { step.take(t, h) }) {
					t.Fatalf("%s failed; the steps behind it need it", step.name)
				}
			}
		})
	}
}

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "hosts: needs root, to make hosts")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// versions is what the host runs, which must be what it was made for.
func versions(t *testing.T, h *Host, openssh, engine string) string {
	t.Helper()
	got := strings.Split(h.Run(t, `. /etc/os-release; echo "$VERSION"
		uname -r
		ssh -V 2>&1
		docker info -f '{{.ServerVersion}} {{.Driver}} cgroup{{.CgroupVersion}} {{.SecurityOptions}}'
		auditctl -s | head -n 1
		echo -500 >/proc/self/oom_score_adj && cat /proc/self/oom_score_adj`), "\n")
	said := strings.Join(got, "; ")
	for i, want := range []string{"", "", `^OpenSSH_` + regexp.QuoteMeta(openssh), `^` + regexp.QuoteMeta(engine) + `\..* overlay2 cgroup2 .*name=apparmor`,
		`^enabled 1$`, `^-500$`} {
		if !regexp.MustCompile(want).MatchString(got[i]) {
			t.Fatalf("the host has %q, want %q: %s", got[i], want, said)
		}
	}
	return strings.Join(got[:4], "; ")
}
