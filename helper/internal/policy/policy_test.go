// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/link/rootfile"

	"golang.org/x/sys/unix"
)

// parseBase is Parse for what stands outside of the profiles.
func parseBase(data []byte) (Policy, error) {
	c, err := Parse(data)
	return c.Base, err
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	p, err := parseBase(nil)
	if err != nil || !reflect.DeepEqual(p, Default()) {
		t.Errorf("%+v, %v", p, err)
	}
}

// What berth.toml says in an earlier version's words counts, and is noted.
func TestOldValues(t *testing.T) {
	p, err := parseBase([]byte("transport = \"docker\"\n"))
	if err != nil || p.Transport != Exec || !slices.Equal(p.Renamed, []string{`transport: "docker" is called "exec" now`}) {
		t.Errorf("%q, %q, %v", p.Transport, p.Renamed, err)
	}
	p, err = parseBase([]byte("[container]\nseccomp = \"default\"\n"))
	if err != nil || p.Container.Seccomp != EngineSeccomp || !slices.Equal(p.Renamed, []string{`container.seccomp: "default" is called "engine" now`}) {
		t.Errorf("%q, %q, %v", p.Container.Seccomp, p.Renamed, err)
	}
}

func TestWholeFile(t *testing.T) {
	p, err := parseBase([]byte(`
transport = "direct"
[engine]
socket = "/run/podman.sock"
timeout = "3s"
[container]
name = "lab"
image = "registry.example:5000/lab@sha256:0123"
hostname = "teach"
network = "bridge"
read_only = false
capabilities = ["cap_setuid", "SETGID", "chown", "kill"]
seccomp = "/etc/berth/seccomp.json"
tmpfs = { "/run" = "size=1m", "/tmp" = "size=2m,exec" }
pids_limit = 100
user_processes = 50
pty_max = 64
memory = "512m"
shm_size = "2m"
cpus = 1.5
cpu_weight = 30
runtime = "crun"
userns = "host"
apparmor = "berth"
dns = ["192.0.2.2", "2001:db8::1", "192.0.2.1"]
pull = "missing"
nofile_soft = 100
nofile_hard = 200
restart = "no"
heal = false
idle = "60m"
keep = "48h"
timeout = "1s"
[[container.mount]]
source = "/srv/data"
read_only = true
propagation = "rslave"
[[container.mount]]
source = "/home"
target = "/home"
[session]
shell = "/bin/zsh"
path = "/bin:/usr/bin"
umask = "027"
set_env = { SITE = "a b" }
accept_env = ["GIT_*"]
sftp_server = "/opt/sftp"
linger = "8h"
timeout = "1m"
limit = 7
forward = ["local", "agent"]
[users]
uid_min = 500
uid_max = 4294967294
`))
	mask, cpus := uint32(0o027), 1.5
	want := Policy{
		Profile: BaseProfile, Mode: Shared,
		Transport: "direct",
		Engine:    Engine{"/run/podman.sock", 3 * time.Second},
		Container: Container{Name: "lab", Image: "registry.example:5000/lab@sha256:0123", Hostname: "teach", Network: "bridge",
			Capabilities: []string{"CHOWN", "KILL", "SETGID", "SETUID"}, Seccomp: "/etc/berth/seccomp.json",
			AppArmor: "berth", Runtime: "crun", Userns: "host", DNS: []string{"192.0.2.2", "2001:db8::1", "192.0.2.1"}, Pull: PullMissing,
			Tmpfs:     map[string]string{"/run": "size=1m", "/tmp": "size=2m,exec"},
			Mounts:    []Mount{{"/srv/data", "/srv/data", true, Slave}, {"/home", "/home", false, ""}},
			PidsLimit: 100, UserProcesses: 50, PTYMax: 64, Memory: 512 << 20, ShmSize: 2 << 20, CPUs: &cpus, CPUWeight: 30,
			NoFile: NoFile{100, 200}, Restart: "no",
			Idle: time.Hour, Keep: 2 * day, Timeout: time.Second},
		Session: Session{"/bin/zsh", "/bin:/usr/bin", &mask, map[string]string{"SITE": "a b"}, []string{"GIT_*"}, "/opt/sftp", 8 * time.Hour, time.Minute, 7, []string{"agent", "local"}},
		Users:   Users{500, 1<<32 - 2},
		Sources: Default().Sources,
	}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v\n%v", p, want, err)
	}
	checkRoundTrip(t, p)
	checkRoundTrip(t, Default())
}

// checkRoundTrip checks that what is shown of a policy makes that policy.
func checkRoundTrip(t *testing.T, p Policy) {
	t.Helper()
	file := TOML(settings(p, "", keys, nil))
	again, err := parseBase([]byte(file))
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	for _, list := range []*[]string{&p.Session.AcceptEnv, &again.Session.AcceptEnv, &p.Session.Forward, &again.Session.Forward} {
		if *list == nil {
			*list = []string{}
		}
	}
	if !reflect.DeepEqual(again, p) {
		t.Errorf("got  %+v\nwant %+v\n%s", again, p, file)
	}
}

// One wrong value for each key: each is reported under its key, all at once,
// and no value is repeated.
func TestEveryKeyIsChecked(t *testing.T) {
	wrong := map[string]string{
		"session.forward": `["hunter2"]`, "engine.socket": `"hunter2"`, "engine.timeout": `"1h"`,
		"container.name": `"-hunter2"`, "container.image": `"HUNTER2 x"`, "container.hostname": `"hunter2_"`, "container.network": `"host"`,
		"container.read_only": `"hunter2"`, "container.capabilities": `["SETUID", "SETGID", "SYS_ADMIN"]`, "container.seccomp": `"unconfined"`,
		"container.tmpfs": `{ "/tmp" = "size=1m" }`, "container.pids_limit": `-3`, "container.user_processes": `0`, "container.pty_max": `"hunter2"`, "container.memory": `"hunter2"`,
		"container.nofile_soft": `1`, "container.nofile_hard": `"hunter2"`, "container.restart": `"hunter2"`, "container.heal": `1`, "mode": `"hunter2"`,
		"container.idle": `"0s"`, "container.keep": `"1h"`, "container.timeout": `8`,
		"container.mount": `"hunter2"`, "container.cpus": `nan`,
		"container.cpu_weight": `0`, "container.shm_size": `"1k"`, "container.runtime": `"-hunter2"`,
		"container.userns": `"private"`, "container.apparmor": `"unconfined"`,
		"container.dns": `["192.0.2.1", "hunter2"]`, "container.pull": `"always"`,
		"session.shell": `"bash"`, "session.path": `"hunter2:/bin"`, "session.umask": `27`, "session.set_env": `{ "A B" = "hunter2" }`,
		"session.accept_env": `["*"]`, "session.sftp_server": `7`, "session.linger": `"yes"`, "session.timeout": `"0s"`, "session.limit": `0`, "transport": `"hunter2"`,
		"users.uid_min": `"hunter2"`, "users.uid_max": `0`,
		"container.nmae": `"hunter2"`, "sesion": `{ hunter2 = 1 }`, "trnasport": `"hunter2"`,
		// Constants decide these.
		"container.guest": `"/srv"`, "container.lifeline": `"/srv"`, "container.serve": `"/srv"`, "container.names": `"/srv"`,
	}
	for table, known := range keys {
		for name := range known {
			if key := strings.TrimPrefix(table+"."+name, "."); wrong[key] == "" {
				t.Errorf("%s has no wrong value here", key)
			}
		}
	}
	var file strings.Builder
	for key, value := range wrong {
		file.WriteString(key + " = " + value + "\n")
	}
	_, err := parseBase([]byte(file.String()))
	var problems *Problems
	if !errors.As(err, &problems) || len(problems.List) != len(wrong) {
		t.Fatalf("%v", err)
	}
	for _, problem := range problems.List {
		if wrong[problem.Key] == "" {
			t.Errorf("%s: %s", problem.Key, problem.Text)
		}
		// A misspelt key is no table.
		table := strings.HasPrefix(wrong[problem.Key], "{") && !strings.Contains(problem.Key, ".")
		if strings.Contains(problem.Text, "is no table") != table {
			t.Errorf("%s: %s", problem.Key, problem.Text)
		}
	}
	if strings.Contains(strings.ToLower(err.Error()), "hunter2") {
		t.Errorf("a value is told: %v", err)
	}
}

// Values that come near to a good one.
func TestContainerValues(t *testing.T) {
	for text, good := range map[string]bool{
		"cpus = 0": true, "cpus = 2": true, "cpus = 0.01": true, "cpus = 0.009": false, "cpus = -1": false, "cpus = inf": false, "cpus = 1e9": false,
		`dns = []`: true, `dns = ["fe80::1%eth0"]`: false, `dns = "192.0.2.1"`: false, `dns = [1]`: false,
		`seccomp = "berth"`: true, `seccomp = "engine"`: true, `seccomp = "berth.json"`: false,
		`apparmor = "docker-default"`: true, `apparmor = ""`: false,
		`shm_size = "1m"`: true, `shm_size = "0"`: false, `shm_size = 64`: false, `shm_size = "2g"`: false, // more than memory
		"[[container.mount]]\nsource = '/srv'\npropagation = 'rprivate'": true, "[[container.mount]]\nsource = '/srv'\npropagation = 'rshared'": false,
	} {
		if _, err := Parse([]byte("[container]\n" + text + "\n")); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMountsThatGiveTheHostAway(t *testing.T) {
	for _, source := range []string{"/", "/etc", "/etc/berth", "/run", "/run/docker.sock", "/var", "/var/run", "/var/lib/docker", "/var/lib/berth/lifeline", "/proc", "/dev", "/usr", "relative", "/home/../etc"} {
		if _, err := checkMounts([]map[string]any{{"source": source, "target": "/mnt"}}); err == nil {
			t.Errorf("%s may be mounted", source)
		}
	}
	for _, target := range []string{"/", "/usr", "/run/berth", "/usr/libexec/berth", "/proc/sys", "/dev"} {
		if _, err := checkMounts([]map[string]any{{"source": "/home", "target": target}}); err == nil {
			t.Errorf("%s may be covered", target)
		}
	}
}

func TestLoadTrustsRootAlone(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"missing":  os.Remove,
		"writable": func(p string) error { return os.Chmod(p, 0o664) },
		"hers":     func(p string) error { return os.Chown(p, 1000, 0) },
		"a link": func(p string) error {
			return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		},
		"a FIFO": func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644)) },
		"long":   func(p string) error { return os.Truncate(p, rootfile.MaxSize+1) },
	} {
		path := filepath.Join(t.TempDir(), "berth.toml")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err != nil {
			t.Fatalf("good: %v", err)
		}
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		var problems *Problems
		if _, err := Load(path); !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("[container]\nname = \"x\"\n[[container.mount]]\nsource = \"/srv\"\n"))
	f.Add([]byte("session.umask = '7'\nsession.timeout = '90s'\n[session.set_env]\nA = \"<\\u007f\\u2028\\\\\\n\"\n[container]\nmemory = '20480k'\nmount = []"))
	f.Add([]byte("container = 3\n[session]\numask = \"9\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseBase(data)
		var problems *Problems
		if err != nil && (!errors.As(err, &problems) || len(problems.List) == 0) {
			t.Fatalf("%v", err)
		}
		if err == nil {
			checkRoundTrip(t, p)
		}
		if err == nil && (p.Container.Network == "host" || p.Container.Name == "" || p.Users.UIDMin == 0) {
			t.Fatalf("%+v", p)
		}
	})
}
