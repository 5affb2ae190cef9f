// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/rules"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

const engineGroup = 4242

// host is one of the test's, with an engine's socket and the programs as they should be
// for the transport.
func host(t *testing.T, transport string) (Dirs, policy.Policy) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	d := Dirs{
		Programs: filepath.Join(dir, "libexec"), EngineLink: filepath.Join(dir, "engine.sock"), State: filepath.Join(dir, "lib"),
		Profiles: filepath.Join(dir, "lib/profiles"), Users: filepath.Join(dir, "lib/users"),
		Names: filepath.Join(dir, "lib/names"), Lifeline: filepath.Join(dir, "lib/lifeline"), Sessions: filepath.Join(dir, "lib/sessions"),
		EmptyNetwork: filepath.Join(dir, "run/nowhere"),
	}
	p := policy.Default()
	p.Transport, p.Engine.Socket = transport, filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", p.Engine.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	for _, err := range []error{
		os.Chown(p.Engine.Socket, 0, engineGroup), os.Mkdir(d.Programs, 0o755),
		os.WriteFile(d.Session(), nil, 0o755), os.WriteFile(d.Session()+"-exec", nil, 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if transport != policy.Direct {
		makeSetgid(t, d.Session()+"-exec", engineGroup)
	}
	return d, p
}

func makeSetgid(t *testing.T, path string, group int) {
	t.Helper()
	if err := os.Chown(path, 0, group); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, os.ModeSetgid|0o755); err != nil {
		t.Fatal(err)
	}
}

// What `berth up` leaves on the host, and that a second time changes nothing.
func TestPrepare(t *testing.T) {
	for _, transport := range []string{policy.Auto, policy.Direct, policy.Exec} {
		d, p := host(t, transport)
		for range 2 {
			if notes, err := d.Prepare(policy.Config{Base: p}); err != nil || len(notes) > 0 {
				t.Fatalf("%s: %+v, %v", transport, notes, err)
			}
		}
		want := map[string]uint32{
			d.Dir(p): unix.S_IFDIR | 0o755, d.Names: unix.S_IFDIR | 0o755, d.Sessions: unix.S_IFDIR | 0o711,
			filepath.Join(d.Dir(p), rules.File): unix.S_IFREG | 0o644,
		}
		if transport != policy.Direct {
			want[d.Lifeline] = unix.S_IFDIR | unix.S_ISVTX | 0o730
			if target, err := os.Readlink(d.EngineLink); err != nil || target != p.Engine.Socket {
				t.Errorf("%s: the link leads to %q: %v", transport, target, err)
			}
		} else if _, err := os.Lstat(d.EngineLink); err == nil {
			t.Errorf("%s: a link to the engine", transport)
		}
		for path, mode := range want {
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil || st.Mode != mode || st.Uid != 0 || st.Gid != 0 && path != d.Lifeline {
				t.Errorf("%s: %s is %o, %d:%d; should be %o: %v", transport, path, st.Mode, st.Uid, st.Gid, mode, err)
			} else if path == d.Lifeline && st.Gid != engineGroup {
				t.Errorf("%s: %s has gid %d", transport, path, st.Gid)
			}
		}
		if r, err := rules.Load(filepath.Join(d.Dir(p), rules.File)); err != nil || !reflect.DeepEqual(r, Rules(p, engineGroup, access.Cover{})) {
			t.Errorf("%s: %+v, %v", transport, r, err)
		}
	}
}

// What was wrong before is right afterwards: modes, the link, rules of before.
func TestPrepareRepairs(t *testing.T) {
	d, p := host(t, policy.Auto)
	if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Chmod(d.Names, 0o777), os.Chown(d.Dir(p), 1000, 1000), os.Chmod(d.Lifeline, 0o777),
		os.Remove(d.EngineLink), os.Symlink("/elsewhere", d.EngineLink),
		os.WriteFile(filepath.Join(d.Dir(p), rules.File), []byte("limit=1"), 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p.Session.Limit = 3
	if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]uint32{d.Dir(p): 0o755, d.Names: 0o755, d.Lifeline: unix.S_ISVTX | 0o730} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Mode&^unix.S_IFMT != mode || st.Uid != 0 {
			t.Errorf("%s is %o, of %d: %v", path, st.Mode, st.Uid, err)
		}
	}
	if target, _ := os.Readlink(d.EngineLink); target != p.Engine.Socket {
		t.Errorf("the link leads to %s", target)
	}
	if r, err := rules.Load(filepath.Join(d.Dir(p), rules.File)); err != nil || r.Limit != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Of the sockets of sessions only the abandoned ones are removed, and nothing else.
func TestAbandonedLifelines(t *testing.T) {
	d, p := host(t, policy.Exec)
	if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
		t.Fatal(err)
	}
	live, dead, file := filepath.Join(d.Lifeline, "1000.1"), filepath.Join(d.Lifeline, "1000.2"), filepath.Join(d.Lifeline, "file")
	listener, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	other.SetUnlinkOnClose(false)
	other.Close()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Prepare(policy.Config{Base: p}); err != nil {
		t.Fatal(err)
	}
	for path, stays := range map[string]bool{live: true, dead: false, file: true} {
		if _, err := os.Lstat(path); (err == nil) != stays {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

// Every rule comes from the policy: none is left as it is in an empty one.
func TestRulesAreComplete(t *testing.T) {
	p := policy.Default()
	p.Session.Linger = policy.Forever
	shared := reflect.ValueOf(Rules(p, engineGroup, access.Cover{Closed: true}))
	p.Mode = policy.PerUser
	own := reflect.ValueOf(Rules(p, engineGroup, access.Cover{Closed: true}))
	for i := range shared.NumField() {
		if shared.Field(i).IsZero() && own.Field(i).IsZero() {
			t.Errorf("nothing says %s", shared.Type().Field(i).Name)
		}
	}
	if _, err := rules.Parse(Rules(p, engineGroup, access.Cover{}).Words()); err != nil {
		t.Error(err)
	}
}

func TestEngineSocket(t *testing.T) {
	d, p := host(t, policy.Exec)
	for path, want := range map[string]error{"/nonexistent": unix.ENOENT, "/dev/null": unix.ENOTSOCK} {
		p.Engine.Socket = path
		if _, err := d.Prepare(policy.Config{Base: p}); !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "engine.socket: "+path+": ") {
			t.Errorf("%s: %v", path, err)
		}
		if notes := d.CheckPrograms(p); len(notes) != 1 || notes[0].Fatal {
			t.Errorf("%s: %+v", path, notes)
		}
		p.Transport = policy.Direct // needs no engine
		if notes := d.CheckPrograms(p); len(notes) != 1 || !strings.Contains(notes[0].Text, "special bit that transport direct has no use for") {
			t.Errorf("%s: %+v", path, notes)
		}
		p.Transport = policy.Exec
	}
}

// What is said of programs that are not as they should be, and whether it keeps
// everybody out.
func TestCheckPrograms(t *testing.T) {
	for _, c := range []struct {
		name, transport string
		spoil           func(d Dirs) error
		want            string // empty: nothing is said
		fatal           bool
	}{
		{"as it should be", policy.Auto, func(Dirs) error { return nil }, "", false},
		{"no berth-session", policy.Auto, func(d Dirs) error { return os.Remove(d.Session()) }, "no such file or directory: nobody", true},
		{"writable", policy.Direct, func(d Dirs) error { return os.Chmod(d.Session(), 0o775) }, "writable by nobody else", true},
		{"setuid", policy.Direct, func(d Dirs) error { return os.Chmod(d.Session(), os.ModeSetuid|0o755) }, "no special bit", true},
		{"a user's", policy.Direct, func(d Dirs) error { return os.Chown(d.Session(), 1000, 0) }, "must be root's", true},
		{"direct, setgid", policy.Direct, func(d Dirs) error { return os.Chmod(d.Session()+"-exec", os.ModeSetgid|0o755) }, "remove it", false},
		{"exec, none", policy.Exec, func(d Dirs) error { return os.Remove(d.Session() + "-exec") }, "setgid to gid 4242", true},
		{"exec, not setgid", policy.Exec, func(d Dirs) error { return os.Chmod(d.Session()+"-exec", 0o755) }, "nobody can log in", true},
		{"auto, none", policy.Auto, func(d Dirs) error { return os.Remove(d.Session() + "-exec") }, "", false},
		{"auto, not setgid", policy.Auto, func(d Dirs) error { return os.Chmod(d.Session()+"-exec", 0o755) }, "no login starts a stopped", false},
		{"auto, another group", policy.Auto, func(d Dirs) error { return os.Chown(d.Session()+"-exec", 0, 7) }, "setgid to gid 4242", false},
	} {
		d, p := host(t, c.transport)
		if err := c.spoil(d); err != nil {
			t.Fatal(err)
		}
		notes := d.CheckPrograms(p)
		switch {
		case c.want == "" && len(notes) == 0:
		case len(notes) != 1 || c.want == "" || !strings.Contains(notes[0].Text, c.want) || notes[0].Fatal != c.fatal:
			t.Errorf("%s: %+v, want %q, fatal %t", c.name, notes, c.want, c.fatal)
		}
	}
}

func TestSources(t *testing.T) {
	d := Dirs{Programs: "/opt/libexec/berth", Profiles: policy.ProfilesDir, Users: policy.UsersDir, Names: policy.NamesDir, Lifeline: policy.LifelineDir}
	own := policy.Default()
	own.Mode, own.Profile, own.Container.Name, own.Person.UID = policy.PerUser, "p", "c-1001", 1001
	t.Setenv(SourcesVariable, "")
	want := policy.Sources{Guest: "/opt/libexec/berth/guest", Lifeline: policy.LifelineDir, Serve: policy.ProfilesDir + "/default/berth", Names: policy.NamesDir}
	if s, err := d.Sources(policy.Default()); err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	t.Setenv(SourcesVariable, "/lab")
	want = policy.Sources{Guest: "/lab/guest", Lifeline: "/lab/lifeline", Serve: "/lab/profiles/default/berth", Names: "/lab/names"}
	if s, err := d.Sources(policy.Default()); err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	// A container of one's own has one's own names.
	if s, err := d.Sources(own); err != nil || s.Serve != "/lab/profiles/p/c-1001" || s.Names != "/lab/users/1001.names" {
		t.Errorf("%+v, %v", s, err)
	}
	t.Setenv(SourcesVariable, "lab")
	if _, err := d.Sources(policy.Default()); err == nil {
		t.Error("a relative path is taken")
	}
}
