// SPDX-License-Identifier: Apache-2.0

package containers

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/policy"
)

// script is an engine and a keeper that answer as a test wants, and note what they are
// told to do. What the real ones do, the labs show.
type script struct {
	state   engine.State
	health  engine.Health
	count   control.Count
	fails   map[string]error // by what was to be done
	orders  []string
	answers int // of Count, before it is what count says
}

func (s *script) order(what string) error {
	s.orders = append(s.orders, what)
	return s.fails[what]
}

func (s *script) Inspect(context.Context, policy.Policy) (engine.State, error) {
	return s.state, s.fails["inspect"]
}
func (s *script) EnsureImage(context.Context, policy.Policy) error {
	return s.fails["image"]
}
func (s *script) Create(context.Context, policy.Policy) error { return s.order("create") }
func (s *script) Start(context.Context, string) error         { return s.order("start") }
func (s *script) Remove(context.Context, string) error        { return s.order("remove") }
func (s *script) Probe(context.Context, string) error         { return s.fails["probe"] }
func (s *script) Renew() error                                { return s.order("renew") }
func (s *script) Settle(int64) ([]string, error)              { return []string{"a note"}, s.order("settle") }
func (s *script) Health(context.Context, string) (engine.Health, error) {
	return s.health, s.fails["health"]
}
func (s *script) Count() (control.Count, error) {
	if s.answers > 0 {
		s.answers--
		return control.Count{}, control.ErrNoKeeper
	}
	return s.count, s.fails["count"]
}

// container is one whose engine and keeper are s, and whose server says no, as it does
// to root.
func container(t *testing.T, s *script, transport string) (c Container, out *bytes.Buffer) {
	t.Helper()
	p := policy.Default()
	p.Transport = transport
	out = &bytes.Buffer{}
	refusal := loginerror.New("no", errors.New("root"))
	socket := serve(t, lifeline.Frame(lifeline.Failure, lifeline.PackRefusal(refusal)))
	return Container{Policy: p, Engine: s, Keeper: s, Socket: socket, Out: out, Err: out}, out
}

// serve says answer to whoever connects.
func serve(t *testing.T, answer []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(answer)
			conn.Close()
		}
	}()
	return path
}

var (
	running  = engine.State{Exists: true, Status: "running", LiveRestore: true}
	pids     = []engine.Difference{{Key: "pids_limit", Have: "1", Want: "2"}}
	server   = control.Count{Server: 7, Spare: 4, Sessions: 3}
	errEvent = errors.New("refused")
)

// What `berth up` does and says, whatever it finds.
func TestUp(t *testing.T) {
	state := func(change func(*engine.State)) engine.State {
		s := running
		change(&s)
		return s
	}
	for _, c := range []struct {
		name     string
		script   script
		recreate bool
		idleOnly bool
		orders   string
		says     string
		err      string
	}{
		{name: "none", script: script{count: server, state: engine.State{LiveRestore: true}},
			orders: "create settle", says: "berth is created and runs"},
		{name: "it runs", script: script{count: server, state: running}, orders: "renew settle", says: "berth: a note\nberth runs"},
		{name: "stopped", script: script{count: server, state: state(func(s *engine.State) { s.Status = "exited" })},
			orders: "start renew settle", says: "berth was exited and runs"},
		{name: "it takes a moment", script: script{count: server, state: running, answers: 2}, orders: "renew settle", says: "berth runs"},
		{name: "no live-restore", script: script{count: server, state: state(func(s *engine.State) { s.LiveRestore = false })},
			orders: "renew settle", says: "berth: the engine ends its containers when it stops"},
		{name: "it differs", script: script{count: server, state: state(func(s *engine.State) { s.Differences = pids })},
			orders: "renew settle", says: `berth: pids_limit: is "1", should be "2"`, err: ErrDifferent.Error()},
		{name: "it differs, recreate", script: script{count: server, state: state(func(s *engine.State) { s.Differences = pids })},
			recreate: true, orders: "remove create settle", says: "berth is created and runs"},
		{name: "recreate without need", script: script{count: server, state: running}, recreate: true,
			orders: "renew settle", says: "berth runs"},
		{name: "another command", script: script{count: server,
			state: state(func(s *engine.State) { s.Differences = []engine.Difference{{Key: "command", Have: "x", Want: "y"}} })},
			says: "berth runs", err: ErrDifferent.Error()},
		{name: "no engine", script: script{fails: map[string]error{"inspect": errEvent}}, err: "refused"},
		{name: "not created", script: script{fails: map[string]error{"create": errEvent}}, orders: "create", err: "refused"},
		{name: "no image", script: script{fails: map[string]error{"image": errEvent}}, err: "refused"},
		{name: "no image, recreate", script: script{
			state: state(func(s *engine.State) { s.Differences = pids }), fails: map[string]error{"image": errEvent}},
			recreate: true, err: "refused"},
		{name: "not removed", script: script{
			state: state(func(s *engine.State) { s.Differences = pids }), fails: map[string]error{"remove": errEvent}},
			recreate: true, orders: "remove", err: "refused"},
		{name: "not renewed", script: script{count: server, state: running, fails: map[string]error{"renew": errEvent}}, orders: "renew",
			err: "berth keeps its old rules and programs: refused"},
		{name: "not settled", script: script{count: server, state: running, fails: map[string]error{"settle": errEvent}},
			orders: "renew settle", err: "refused"},
		{name: "it ends at once", script: script{answers: 100,
			health: engine.Health{Status: "restarting", Restarts: 2, LastLog: "no rules"}},
			orders: "create", err: "berth ends right after each start, 2 times so far: no rules"},
		{name: "it differs, and has sessions", script: script{state: state(func(s *engine.State) { s.Differences = pids }), count: server},
			recreate: true, idleOnly: true, orders: "renew settle", err: ErrDifferent.Error()},
		{name: "it differs, and does not say who is in it",
			script:   script{state: state(func(s *engine.State) { s.Differences = pids }), count: server, answers: 2},
			recreate: true, idleOnly: true, orders: "renew settle", err: ErrDifferent.Error()},
		{name: "other ids", script: script{state: running, fails: map[string]error{"count": control.ErrRemapped}},
			err: control.ErrRemapped.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			container, out := container(t, &c.script, policy.Direct)
			err := container.Up(t.Context(), UpOptions{Recreate: c.recreate, IdleOnly: c.idleOnly})
			if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("%v, want %q", err, c.err)
			}
			if got := strings.Join(c.script.orders, " "); got != c.orders {
				t.Errorf("did %q, should %q", got, c.orders)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("said %q, should %q", out, c.says)
			}
		})
	}
}

// A container that never serves is waited for as long as ctx lets, and its log is told.
func TestUpGivesUp(t *testing.T) {
	s := script{state: running, count: control.Count{Spare: 1}, health: engine.Health{Status: "running", LastLog: "waiting for rules"}}
	c, _ := container(t, &s, policy.Direct)
	ctx, cancel := context.WithTimeout(t.Context(), 3*pollInterval)
	defer cancel()
	err := c.Up(ctx, UpOptions{})
	const want = "berth is running, and serves no sessions: no server runs in it: the last line of its log: waiting for rules"
	if err == nil || err.Error() != want || len(s.orders) > 0 {
		t.Errorf("%v; did %q", err, s.orders)
	}
}

// Whom each transport needs.
func TestCheckService(t *testing.T) {
	for _, c := range []struct {
		transport, what, want string
		script                script
	}{
		{policy.Direct, "all is there", "", script{count: server, fails: map[string]error{"probe": errEvent}}},
		{policy.Direct, "no server", "no server runs in it", script{count: control.Count{Spare: 1}}},
		{policy.Direct, "no spare", "no supervisor is ready in it", script{count: control.Count{Server: 1}}},
		{policy.Direct, "no keeper", control.ErrNoKeeper.Error(), script{answers: 1}},
		{policy.Exec, "all is there", "", script{}},
		{policy.Exec, "no guest", "refused", script{count: server, fails: map[string]error{"probe": errEvent}}},
		{policy.Auto, "all is there", "", script{count: server}},
		{policy.Auto, "no guest", "refused", script{count: server, fails: map[string]error{"probe": errEvent}}},
		{policy.Auto, "no server", "no server runs in it", script{}},
	} {
		container, _ := container(t, &c.script, c.transport)
		if err := container.checkService(t.Context()); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s, %s: %v", c.transport, c.what, err)
		}
	}
}

// A server that says no to root serves; one that says nothing does not.
func TestCheckServer(t *testing.T) {
	refusal := loginerror.New("no", errors.New("root"))
	for name, c := range map[string]struct {
		socket string
		serves bool
	}{
		"it says no":     {serve(t, lifeline.Frame(lifeline.Failure, lifeline.PackRefusal(refusal))), true},
		"ready":          {serve(t, lifeline.Frame(lifeline.Ready, nil)), true},
		"without a word": {serve(t, nil), false},
		"nobody listens": {filepath.Join(t.TempDir(), "none"), false},
		"nonsense":       {serve(t, []byte("HTTP/1.1 400\r\n")), false},
	} {
		if err := checkServer(c.socket); (err == nil) != c.serves {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What `berth status` says of each thing that may be wrong with a container.
func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name, transport, want string // why logins fail; empty: they work
		script                script
		prints                []string
	}{
		{name: "all is well", transport: policy.Auto, script: script{state: running, count: server},
			prints: []string{"profile     default\ncontainer   berth, running\ntransport   auto\nsessions    3\nlogins      work\n"}},
		{name: "no container", transport: policy.Auto, script: script{answers: 1}, want: "there is no container",
			prints: []string{"container   berth, missing\n", "sessions    0\nlogins      fail: there is no container\n"}},
		{name: "paused", transport: policy.Auto, script: script{state: engine.State{Exists: true, Status: "paused"}, count: server},
			want: "the container is paused", prints: []string{"container   berth, paused\n"}},
		{name: "no engine", transport: policy.Auto,
			script: script{count: server, fails: map[string]error{"inspect": errEvent, "probe": errEvent}},
			prints: []string{"container   berth; the engine does not say how it is\n", "logins      work\n"}},
		{name: "no engine, exec", transport: policy.Exec,
			script: script{count: server, fails: map[string]error{"inspect": errEvent, "probe": errEvent}},
			want:   "refused"},
		{name: "no engine, no container", transport: policy.Direct,
			script: script{fails: map[string]error{"inspect": errEvent, "count": control.ErrNoKeeper}}, want: control.ErrNoKeeper.Error()},
		{name: "it differs", transport: policy.Direct,
			script: script{state: engine.State{Exists: true, Status: "running", Differences: pids}, count: server},
			prints: []string{"differs     pids_limit: is \"1\", should be \"2\"\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			container, _ := container(t, &c.script, c.transport)
			s := container.Status(t.Context())
			if s.Why != c.want || s.Logins != (c.want == "") {
				t.Errorf("%+v; want %q", s, c.want)
			}
			var out bytes.Buffer
			s.Write(&out)
			for _, want := range c.prints {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, &out)
				}
			}
			if len(c.script.orders) > 0 {
				t.Errorf("status did %q", c.script.orders)
			}
		})
	}
}

// One container without logins, or a fatal note, is a failure of the host.
func TestReport(t *testing.T) {
	good, bad := Status{Container: "a", Logins: true}, Status{Container: "b", Why: "it is paused"}
	for _, c := range []struct {
		containers []Status
		notes      []hostfiles.Note
		want       string
	}{
		{[]Status{good, good}, []hostfiles.Note{{Text: "look here"}}, ""},
		{[]Status{good, bad}, nil, "b: it is paused"},
		{[]Status{good}, []hostfiles.Note{{Text: "no program", Fatal: true}}, "no program"},
		{nil, nil, ""},
	} {
		r := Report{Containers: c.containers}
		err := r.judge(c.notes)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want || r.Logins != (err == nil) || r.Why != c.want || len(r.Notes) != len(c.notes) {
			t.Errorf("%+v, %v; want %q", r, err, c.want)
		}
	}
}

func TestDown(t *testing.T) {
	s := script{}
	c, out := container(t, &s, policy.Auto)
	if err := c.Down(t.Context()); err != nil || !slices.Equal(s.orders, []string{"remove"}) || out.String() != "berth is gone\n" {
		t.Errorf("%q, %q, %v", s.orders, out, err)
	}
	s.fails = map[string]error{"remove": errEvent}
	if err := c.Down(t.Context()); !errors.Is(err, errEvent) {
		t.Error(err)
	}
}
