// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
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
	config, err := policy.Parse([]byte(`
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
shm_size = "1m"
cpus = 0
cpu_weight = 100
runtime = "crun"
apparmor = "berth"
dns = ["192.0.2.1"]
nofile_soft = 100
nofile_hard = 200
restart = "no"
[[container.mount]]
source = "/srv"
`))
	if err != nil {
		t.Fatal(err)
	}
	other := config.Base
	other.Container.Userns = "private" // no file may say so
	confineWithAppArmor(t)
	is, err := describe(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	is.host.Runtime = "runc" // the engine's default, as compare has it
	if found := differences(is, is); len(found) > 0 {
		t.Errorf("differs from itself: %+v", found)
	}
	want, err := describe(other)
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

// Without a network the loopback has IPv6; with one that is the engine's affair. A container that berth made before is
// no other for it.
func TestLoopback(t *testing.T) {
	p := policy.Default()
	without, err := describe(p)
	if err != nil || without.host.Sysctls[noLoopback6] != "0" {
		t.Errorf("%v, %v", without.host.Sysctls, err)
	}
	p.Container.Network = "bridge"
	with, err := describe(p)
	if _, set := with.host.Sysctls[noLoopback6]; set || err != nil {
		t.Errorf("%v, %v", with.host.Sysctls, err)
	}
	old := without
	host := *without.host
	host.Sysctls = map[string]string{shmAll: sharedPages(p)}
	old.host = &host
	if found := differences(old, without); len(found) > 0 {
		t.Errorf("one of before: %+v", found)
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
		"userns":     func(d *description) { d.host.UsernsMode = "" },
		"security":   func(d *description) { d.host.SecurityOpt = append(d.host.SecurityOpt, "label=disable") },
		"apparmor":   func(d *description) { d.host.SecurityOpt = append(d.host.SecurityOpt, "apparmor=unconfined") },
		"seccomp":    func(d *description) { d.host.SecurityOpt = []string{"no-new-privileges", "seccomp=unconfined"} },
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

// confineWithAppArmor makes this host one where AppArmor is in force.
func confineWithAppArmor(t *testing.T) {
	t.Helper()
	was := appArmorState
	t.Cleanup(func() { appArmorState = was })
	appArmorState = filepath.Join(t.TempDir(), "enabled")
	if err := os.WriteFile(appArmorState, []byte("Y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Where the kernel does not obey AppArmor, a profile's name is no promise.
func TestAppArmorProfile(t *testing.T) {
	p := policy.Default()
	p.Container.AppArmor = "berth"
	confineWithAppArmor(t)
	d, err := describe(p)
	if err != nil || !slices.Contains(d.host.SecurityOpt, "apparmor=berth") {
		t.Errorf("in force: %q, %v", d.host.SecurityOpt, err)
	}
	for state, write := range map[string]error{
		"off":  os.WriteFile(appArmorState, []byte("N\n"), 0o600),
		"none": os.Remove(appArmorState),
	} {
		if _, err := describe(p); write != nil || err == nil || !strings.Contains(err.Error(), "container.apparmor: AppArmor is not in force") {
			t.Errorf("%s: %v, %v", state, write, err)
		}
	}
}

// berth's own profile is JSON, names a call once for each rule, and lets through neither what is
// its reason to be nor another way to the same.
func TestOwnProfile(t *testing.T) {
	var profile struct {
		DefaultAction string
		Syscalls      []struct {
			Names  []string
			Action string
			Args   []struct{ Index, Value, ValueTwo uint64 }
		}
	}
	if err := json.Unmarshal(ownProfile, &profile); err != nil || profile.DefaultAction != "SCMP_ACT_ERRNO" {
		t.Fatalf("%q, %v", profile.DefaultAction, err)
	}
	seen := map[string]bool{}
	for _, rule := range profile.Syscalls {
		for _, name := range rule.Names {
			if len(rule.Args) == 0 && seen[name] {
				t.Errorf("%s is named twice", name)
			}
			seen[name] = true
			if len(rule.Args) == 0 && slices.Contains([]string{"socket", "socketpair", "clone", "personality"}, name) {
				t.Errorf("%s is allowed whatever its arguments", name)
			}
		}
	}
	for _, name := range []string{"socketcall", "ipc", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "bpf", "perf_event_open", "add_key",
		"keyctl", "request_key", "mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "fsopen", "open_tree", "move_mount", "mount_setattr",
		"open_by_handle_at", "name_to_handle_at", "kexec_load", "init_module", "finit_module", "swapon", "reboot", "pidfd_getfd", "modify_ldt"} {
		if seen[name] {
			t.Errorf("%s is allowed", name)
		}
	}
}

// A weight comes back as it went, and is below the usual one where it should be.
func TestCPUWeight(t *testing.T) {
	last := int64(0)
	for weight := int64(1); weight <= 10000; weight++ {
		shares := cpuShares(weight)
		if got := cpuWeight(shares); got != weight {
			t.Fatalf("%d becomes %d shares, and %d", weight, shares, got)
		}
		if weight != usualWeight {
			if shares < 2 || shares > 262144 || shares <= last {
				t.Fatalf("%d becomes %d shares, the one below it %d", weight, shares, last)
			}
			last = shares
		}
	}
	if shares := cpuShares(policy.Default().Container.CPUWeight); shares >= 1024 {
		t.Errorf("by default the container has %d shares", shares)
	}
}

// By default some time is left to the host, however few processors it has.
func TestDefaultCPUs(t *testing.T) {
	p := policy.Default()
	all := int64(processors()) * 1e9
	if nano := nanoCPUs(p); nano <= all*9/10 || nano >= all {
		t.Errorf("%s of %d", showCPUs(nano), processors())
	}
	for cpus, want := range map[float64]string{0: "unlimited", 1.5: "1.5", 0.1: "0.1", 64: "64", 1.0 / 3: "0.333333333"} {
		p.Container.CPUs = &cpus
		if got := showCPUs(nanoCPUs(p)); got != want {
			t.Errorf("%v: %s, want %s", cpus, got, want)
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
	cpus := 1.5
	p.Container.CPUs = &cpus
	p.Container.Mounts = []policy.Mount{{Source: "/home", Target: "/home", Propagation: policy.Slave}}
	p.Container.DNS = []string{"192.0.2.1", "192.0.2.2"}
	p.Container.Runtime = "crun"
	got := RunCommand(p)
	want := "docker run --detach --init=false --runtime crun --userns host --name berth --hostname berth --user 0:0 --workdir / " +
		"--network none --dns 192.0.2.1 --dns 192.0.2.2 --restart always --cap-drop ALL --cap-add KILL --cap-add SETGID --cap-add SETUID " +
		"--security-opt no-new-privileges --security-opt seccomp=/etc/berth/seccomp.json --read-only --sysctl kernel.shmall=" + sharedPages(p) +
		" --sysctl net.ipv4.ip_unprivileged_port_start=1024 --sysctl net.ipv6.conf.lo.disable_ipv6=0 --shm-size 67108864 --tmpfs /run:mode=0755,noexec,nosuid,nodev,size=16m " +
		"--tmpfs /tmp:mode=1777,exec,nosuid,nodev,size=256m --tmpfs /var/tmp:mode=1777,exec,nosuid,nodev,size=256m " +
		"--mount type=bind,source=/usr/libexec/berth/guest,target=/usr/libexec/berth,readonly " +
		"--mount type=bind,source=/var/lib/berth/lifeline,target=/run/berth/lifeline " +
		"--mount type=bind,source=/var/lib/berth/profiles/default/berth,target=/run/berth/private/serve " +
		"--mount type=bind,source=/var/lib/berth/names,target=/run/berth/names,readonly --mount type=bind,source=/home,target=/home,bind-propagation=rslave " +
		"--pids-limit 16384 --cpus 1.5 --cpu-shares 501 --memory 2147483648 --memory-swap 2147483648 --ulimit nofile=1024:16384 --stop-signal SIGTERM --stop-timeout 5 " +
		"--no-healthcheck --entrypoint /usr/libexec/berth/berth-init --label berth.dir=/var/lib/berth/profiles/default/berth " +
		"--label berth.mode=shared --label berth.policy=" + labels(p)[labelPolicy] + " --label berth.profile=default --pull never berth:latest serve"
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
