// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"berth/test/labs"
)

// buildCalls builds testdata/calls.c where the lab's users find it.
func buildCalls(t *testing.T, l *labs.Lab) (path string) {
	t.Helper()
	path = filepath.Join(l.Dir, "home", "calls")
	compile := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", path, "testdata/calls.c")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func callResults(out string) map[string]string {
	results := map[string]string{}
	for line := range strings.Lines(out) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), " ")
		results[name] = result
	}
	return results
}

// Calls that work with berth's profile. All others of testdata/calls.c are refused by it.
var allowedCalls = map[string]string{"unix": "ok", "unix-pair": "ok", "inet": "ok", "inet6": "ok", "routes": "ok", "ptrace": "ok",
	"fixed-addresses": "ok", "clone3": "ENOSYS"}

// berth's profile refuses what no shell user needs, to whoever has whatever capability; without
// it the same process is refused none of that by seccomp.
func TestOwnSeccompProfile(t *testing.T) {
	calls := buildCalls(t, lab)
	profile, err := filepath.Abs("../internal/admin/engine/seccomp.json")
	if err != nil {
		t.Fatal(err)
	}
	privileged := func(profile string) map[string]string {
		t.Helper()
		argv := []string{"run", "--rm", "--network", "none", "--security-opt", "seccomp=" + profile, "--volume", calls + ":/calls:ro"}
		for _, capability := range []string{"SYS_ADMIN", "SYS_PTRACE", "SYS_BOOT", "NET_RAW", "NET_ADMIN", "DAC_READ_SEARCH"} {
			argv = append(argv, "--cap-add", capability)
		}
		out, err := exec.Command("docker", append(argv, "berth:latest", "/calls")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return callResults(string(out))
	}
	without, with := privileged("unconfined"), privileged(profile)
	alice := callResults(labs.Finish(lab.SSH("alice", "/home/calls")).Out)
	if len(with) < 30 || !maps.Equal(with, alice) {
		t.Errorf("root with capabilities: %v\nalice in a session: %v", with, alice)
	}
	for name, result := range with {
		control := without[name]
		if want, allowed := allowedCalls[name]; allowed {
			if result != want || control != "ok" && name != "clone3" {
				t.Errorf("%s: %s, and %s without the profile; want %s", name, result, control, want)
			}
			continue
		}
		want := []string{"EPERM"}
		if name == "x32" || name == "vsock-32" {
			want = []string{"SIGSYS"}
		}
		if !slices.Contains(want, result) {
			t.Errorf("%s: %s, want %v", name, result, want)
		}
		// Not all kernels have x32.
		if control == "EPERM" || control == "ENOSYS" && name != "x32" || strings.HasPrefix(control, "SIG") || control == "" {
			t.Errorf("%s: %q without the profile: the test shows nothing", name, control)
		}
	}
	if runtime.GOARCH == "amd64" && with["vsock-32"] == "" {
		t.Error("32-bit calls were not tried")
	}
}

// With "engine" the engine's own profile is in force; an administrator's is, when it is named.
func TestOtherSeccompProfiles(t *testing.T) {
	l := labs.New(t, "[container]\nseccomp = \"engine\"\n")
	buildCalls(t, l)
	results := func() map[string]string {
		t.Helper()
		return callResults(labs.Finish(l.SSH("alice", "/home/calls")).Out)
	}
	if got := results(); got["mount"] != "EPERM" || got["unshare"] != "EPERM" || got["vsock-pair"] == "EPERM" {
		t.Errorf("engine: %v", got)
	}
	for _, value := range []string{"default", "/usr/share/berth/seccomp.json", "berth"} {
		l.Exec(t, "sed", "-i", `s|^seccomp = .*|seccomp = "`+value+`"|`, "/etc/berth/berth.toml")
		r := l.Try("berth", "up")
		switch value {
		case "default": // the old name of "engine"
			if r.Status != 0 || !strings.Contains(r.Err, `container.seccomp: "default" is called "engine" now`) {
				t.Errorf("%s: %+v", value, r)
			}
		case "berth": // which is the one that was named by its path
			if r.Status != 0 {
				t.Errorf("%s: %+v", value, r)
			}
		default:
			if r.Status != 1 || !strings.Contains(r.Out, `seccomp: is "engine", should be "berth"`) {
				t.Errorf("%s: %+v", value, r)
			}
			l.Exec(t, "berth", "up", "--recreate")
			if got := results(); got["vsock"] != "EPERM" || got["io_uring"] != "EPERM" {
				t.Errorf("%s: %v", value, got)
			}
		}
	}
}
