// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/helper/internal/policy"
)

// Each key of [container] has one entry, and no entry is for a key that there is not.
func TestSettingsAreTheKeys(t *testing.T) {
	have := map[string]bool{} // name to whether it is a key's
	for _, s := range settings {
		if _, twice := have[s.name]; twice {
			t.Errorf("%s has two entries", s.name)
		}
		have[s.name] = !s.fixed
		if s.apply == nil && s.read == nil && s.flags == nil && s.fixed {
			t.Errorf("%s is nothing to the engine, and no key", s.name)
		}
	}
	for _, key := range policy.Defaults() {
		if key.Table == "container" {
			if !have[key.Name] {
				t.Errorf("container.%s is not in settings", key.Name)
			}
			delete(have, key.Name)
		}
	}
	maps.DeleteFunc(have, func(_ string, isKey bool) bool { return !isKey })
	if len(have) > 0 {
		t.Errorf("not keys of [container]: %v", slices.Collect(maps.Keys(have)))
	}
}

// A container that differs in every key is said to differ in every key that is the
// engine's, one that does not in none.
func TestDifferences(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "seccomp.json")
	if err := os.WriteFile(profile, []byte(`{ "defaultAction": "SCMP_ACT_ALLOW" }`), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := policy.Parse([]byte(`
[container]
name = "other"
image = "other"
network = "bridge"
read_only = false
capabilities = ["KILL", "SETGID", "SETUID", "CHOWN"]
seccomp = "` + profile + `"
tmpfs = { "/run" = "size=1m" }
pids_limit = 99
memory = "1g"
nofile_soft = 100
nofile_hard = 200
restart = "no"
[[container.mount]]
source = "/srv"
`))
	if err != nil {
		t.Fatal(err)
	}
	is, err := describe(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	if found := differences(is, is); len(found) > 0 {
		t.Errorf("differs from itself: %+v", found)
	}
	want, err := describe(other.Base)
	if err != nil {
		t.Fatal(err)
	}
	is.image, want.image = "sha256:1", "sha256:2"
	var got []string
	for _, d := range differences(is, want) {
		got = append(got, d.Key)
		if d.Have == d.Want || d.Have == "" || d.Want == "" {
			t.Errorf("%+v", d)
		}
	}
	due := []string{"sysctls"} // it follows from memory
	for _, s := range settings {
		if !s.fixed && s.read != nil {
			due = append(due, s.name)
		}
	}
	slices.Sort(due)
	if !slices.Equal(got, due) {
		t.Errorf("differs in %q, should in %q", got, due)
	}
}

// What berth never asks for is seen when a container has it.
func TestForeignSettings(t *testing.T) {
	want, err := describe(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(d *description){
		"privileged": func(d *description) { d.host.Privileged = true },
		"namespaces": func(d *description) { d.host.PidMode = "host" },
		"security":   func(d *description) { d.host.SecurityOpt = append(d.host.SecurityOpt, "apparmor=unconfined") },
		"sysctls":    func(d *description) { d.host.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"} },
		"command":    func(d *description) { d.config.Cmd = []string{"idle"} },
		"user":       func(d *description) { d.config.User = "1000" },
	} {
		have, err := describe(policy.Default())
		if err != nil {
			t.Fatal(err)
		}
		change(&have)
		if found := differences(have, want); len(found) != 1 || found[0].Key != name {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// A profile that cannot be read, or is none, fails what is made of it.
func TestSeccompProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seccomp.json")
	p := policy.Default()
	p.Container.Seccomp = path
	if _, err := describe(p); err == nil || !strings.Contains(err.Error(), "container.seccomp: open "+path) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := describe(p); err == nil || !strings.Contains(err.Error(), "is not JSON") {
		t.Errorf("broken: %v", err)
	}
}

func TestRunCommand(t *testing.T) {
	p := policy.Default()
	p.Container.Seccomp = "/etc/berth/seccomp.json"
	got := RunCommand(p)
	want := "docker run --detach --init=false --userns host --name berth --hostname berth --user 0:0 --workdir / " +
		"--network none --restart always --cap-drop ALL --cap-add KILL --cap-add SETGID --cap-add SETUID " +
		"--security-opt no-new-privileges --security-opt seccomp=/etc/berth/seccomp.json --read-only --sysctl kernel.shmall=" + sharedPages(p) + " --shm-size 67108864 --tmpfs /run:mode=0755,noexec,nosuid,nodev,size=16m " +
		"--tmpfs /tmp:mode=1777,exec,nosuid,nodev,size=256m --tmpfs /var/tmp:mode=1777,exec,nosuid,nodev,size=256m " +
		"--mount type=bind,source=/usr/libexec/berth/guest,target=/usr/libexec/berth,readonly " +
		"--mount type=bind,source=/var/lib/berth/lifeline,target=/run/berth/lifeline " +
		"--mount type=bind,source=/var/lib/berth/profiles/default/berth,target=/run/berth/private/serve " +
		"--mount type=bind,source=/var/lib/berth/names,target=/run/berth/names,readonly --mount type=bind,source=/home,target=/home " +
		"--pids-limit 16384 --memory 2147483648 --memory-swap 2147483648 --ulimit nofile=1024:16384 --stop-signal SIGTERM --stop-timeout 5 " +
		"--no-healthcheck --entrypoint /usr/libexec/berth/berth-init --label berth.dir=/var/lib/berth/profiles/default/berth " +
		"--label berth.mode=shared --label berth.policy=" + labels(p)[labelPolicy] + " --label berth.profile=default berth:latest serve"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What is quoted a shell reads as it was.
func TestShellQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "/a b", "it's", "$HOME `id` \"x\" \\ *", "a\nb"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q: %q, %v", word, out, err)
		}
	}
	if shellQuote("a=b:c") != "a=b:c" {
		t.Error("quoted without need")
	}
}
