// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

// ownProfile gives alice and carol containers of their own.
const ownProfile = "[profile.own]\ngroups = [\"kayakers\"]\nmode = \"user\"\n"

// jsonOf runs berth, and reads what it prints.
func jsonOf[T any](t *testing.T, l *Lab, args ...string) (value T) {
	t.Helper()
	out := l.Exec(t, append(append([]string{"berth"}, args...), "--json")...)
	if err := json.Unmarshal([]byte(out), &value); err != nil {
		t.Fatalf("berth %q: %v: %s", args, err, out)
	}
	return value
}

// What berth explain says is what a login gets, and the line is the one that an administrator finds there.
func TestExplain(t *testing.T) {
	l := newLab(t, ownProfile)
	type explanation struct {
		Profile, Why, Container, Refused, Host string
		Settings                               []struct {
			Key    string
			Value  any
			Origin string
		}
	}
	at := func(line string) string {
		t.Helper()
		number, _, _ := strings.Cut(l.Exec(t, "grep", "-nxF", line, "/etc/berth/berth.toml"), ":")
		return "/etc/berth/berth.toml:" + number
	}
	e := jsonOf[explanation](t, l, "explain", "alice")
	for _, s := range e.Settings {
		want, known := map[string][2]string{
			"mode":           {"user", at(`mode = "user"`)},
			"transport":      {"direct", "default"},
			"container.idle": {"15m", "default"},
		}[s.Key]
		if known && (s.Value != want[0] || s.Origin != want[1]) {
			t.Errorf("%+v, want %q", s, want)
		}
	}
	if e.Profile != "own" || e.Why != at(`groups = ["kayakers"]`) || e.Refused+e.Host != "" {
		t.Errorf("%+v", e)
	}
	l.run(t, "alice", "true")
	if got := l.ContainerOf(t, "alice"); got != e.Container {
		t.Errorf("alice is in %s, and berth explain says %s", got, e.Container)
	}
	line := "\nmode                     = \"user\"  # " + at(`mode = "user"`) + "\n"
	if out := l.Exec(t, "berth", "explain", "alice"); !strings.Contains(out, line) {
		t.Errorf("%s", out)
	}
	if e := jsonOf[explanation](t, l, "explain", "bob"); e.Profile != "default" || e.Container != l.Container(t) || e.Refused+e.Host != "" {
		t.Errorf("bob: %+v", e)
	}
	if e := jsonOf[explanation](t, l, "explain", "admin"); !strings.Contains(e.Host, "gets the host") {
		t.Errorf("admin: %+v", e)
	}
	if e := jsonOf[explanation](t, l, "explain", "root"); !strings.Contains(e.Refused, "root does not log in this way") {
		t.Errorf("root: %+v", e)
	}
	if r := l.Try("berth", "explain", "nosuchuser"); r.Status != 1 || !strings.Contains(r.Err, "nosuchuser") {
		t.Errorf("nobody of that name: %+v", r)
	}
}

// listed is a line of berth sessions.
type listed struct{ ID, User, From, TTY, Command, Profile, Container, Transport string }

// awaitSessions waits until n sessions are open, of which PAM and the log know.
func (l *Lab) awaitSessions(t *testing.T, n int) (all []listed) {
	t.Helper()
	eventually(t, patience, func() (bool, string) {
		all = jsonOf[[]listed](t, l, "sessions")
		for _, s := range all {
			if s.ID == "" || s.From == "" {
				return false, fmt.Sprintf("%+v", all)
			}
		}
		return len(all) == n, fmt.Sprintf("%d sessions: %+v", len(all), all)
	})
	return all
}

// multiplexed opens a connection that sessions of user can share, and returns what a client needs to use it.
func (l *Lab) multiplexed(t *testing.T, user string) (option string) {
	t.Helper()
	socket, _ := l.Master(t, user)
	return "ControlPath=" + socket
}

// Each open session is listed with what it is for; those of one connection have its id in common.
func TestSessions(t *testing.T) {
	l := newLab(t, ownProfile)
	if out := l.Exec(t, "berth", "sessions", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("no session: %q", out)
	}
	l.shell(t, "bob")
	labs.StartWithPipes(t, l.SSH("bob", "cat # without a terminal"))
	option := l.multiplexed(t, "alice")
	for range 2 {
		labs.StartWithPipes(t, l.SSH("alice", "-o", option, "cat # shared"))
	}
	connection := map[string]string{}
	seen := map[string]int{}
	for _, s := range l.awaitSessions(t, 4) {
		id, _, _ := strings.Cut(s.ID, "-")
		seen[fmt.Sprintf("%s %q tty %v %s %s", s.User, s.Command, strings.HasPrefix(s.TTY, "pts/"), s.Profile, s.Container)]++
		if before := connection[s.User]; s.User == "alice" && before != "" && before != id || !strings.HasPrefix(s.From, "127.0.0.1:") {
			t.Errorf("%+v", s)
		}
		connection[s.User] = id
	}
	base, own := " default "+l.Container(t), " own "+l.ContainerOf(t, "alice")
	for want, n := range map[string]int{
		`bob "" tty true` + base: 1, `bob "cat # without a terminal" tty false` + base: 1, `alice "cat # shared" tty false` + own: 2,
	} {
		if seen[want] != n {
			t.Errorf("%d times %s in %v", seen[want], want, seen)
		}
	}
	table := regexp.MustCompile(`(?m)^USER .*COMMAND$\n^\w+ .*\n^\w+ .*\n^\w+ .*\n^\w+ .*\n\z`)
	if out := l.Exec(t, "berth", "sessions"); !table.MatchString(out) {
		t.Errorf("%s", out)
	}
	_, watch := labs.StartWithPipes(t, l.Command("berth", "sessions", "--watch"))
	for range 2 { // again and again
		for line := ""; !strings.Contains(line, "\x1b[H\x1b[JUSER "); {
			var err error
			if line, err = watch.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out := l.Exec(t, "berth", "status"); !strings.Contains(out, "sessions    2\n") || !strings.Contains(out, ", running, 2 sessions\n") {
		t.Errorf("%s", out)
	}
}

// A session is ended by its id, its connection's or its user; the last line on the terminal is the
// administrator's, and no other session ends.
func TestEnd(t *testing.T) {
	l := newLab(t, ownProfile)
	first := l.shell(t, "bob")
	id := l.awaitSessions(t, 1)[0].ID
	second := l.shell(t, "bob")
	out := l.Exec(t, "berth", "end", id, "--message", "The disk is full, ask at the desk")
	if out != "session "+id+" of bob is being ended\n" {
		t.Errorf("%q", out)
	}
	first.expect(`berth: The disk is full, ask at the desk \(id ` + id + `\)\r\n`)
	if status := first.end(); status != 255 {
		t.Errorf("status %d", status)
	}
	if got := second.ask("echo still here"); got != "still here" {
		t.Errorf("the other: %q", got)
	}
	option := l.multiplexed(t, "alice")
	var shared []*Screen
	for range 2 {
		s := open(t, l.SSH("alice", "-o", option))
		s.expect(`[$%#] `)
		shared = append(shared, s)
	}
	connection := ""
	for _, s := range l.awaitSessions(t, 3) {
		if s.User == "alice" {
			connection, _, _ = strings.Cut(s.ID, "-")
		}
	}
	if out := l.Exec(t, "berth", "end", connection); strings.Count(out, " of alice is being ended\n") != 2 {
		t.Errorf("%q", out)
	}
	for _, s := range shared {
		s.expect(`berth: .*administrator.*\r\n`)
		s.end()
	}
	labs.StartWithPipes(t, l.SSH("bob", "cat"))
	l.awaitSessions(t, 2)
	if out := l.Exec(t, "berth", "end", "bob", "--message", "bye"); strings.Count(out, " of bob is being ended\n") != 2 {
		t.Errorf("%q", out)
	}
	second.expect(`berth: bye `)
	second.end()
	l.awaitSessions(t, 0)
	for _, args := range [][]string{{"bob"}, {"nosuch"}, {id}} {
		if r := l.Try(append([]string{"berth", "end"}, args...)...); r.Status != 1 || !strings.Contains(r.Err, args[0]+" is no open session") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if r := l.Try("berth", "end", "bob", "--message", "two\nlines"); r.Status != 1 {
		t.Errorf("%+v", r)
	}
}

// While the gateway is drained no confined user opens a session, by either transport, on a new connection or an
// old one; those inside stay, and are told. `berth up` and a restart change nothing.
func TestDrain(t *testing.T) {
	const words = "Maintenance until 18:00"
	for _, transport := range []string{"direct", "exec"} {
		l := newLab(t, fmt.Sprintf("transport = %q\nmode = \"shared\"\n", transport))
		inside := l.shell(t, "bob")
		option := l.multiplexed(t, "alice")
		if out := l.Exec(t, "berth", "drain", "on", "--message", words); out != "no session begins any more; 1 session open\n" {
			t.Errorf("%q", out)
		}
		inside.expect(`berth: ` + words + `\r\n`)
		drained := func(after string) {
			t.Helper()
			t.Log(transport, after)
			l.refusal(t, finish(l.SSH("bob", "id")), words)
			if r := finish(l.SSH("admin", "id -un")); r.Out != "admin\n" {
				t.Errorf("the administrator: %+v", r)
			}
		}
		drained("drain on")
		l.refusal(t, finish(l.SSH("alice", "-o", option, "id")), words)
		if got := inside.ask("echo still here"); got != "still here" {
			t.Errorf("inside: %q", got)
		}
		l.Try("berth", "up")
		drained("berth up")
		if got := inside.ask("echo still here"); got != "still here" {
			t.Errorf("inside, after berth up: %q", got)
		}
		docker(t, "restart", "-t", "1", l.Container(t))
		drained("a restart")
		if out := l.Try("berth", "status").Out; !strings.Contains(out, "drained     no session begins; users read: "+words+"\n") {
			t.Errorf("%s", out)
		}
		status := jsonOf[struct{ Drained string }](t, l, "status")
		explained := jsonOf[struct{ Refused string }](t, l, "explain", "bob")
		if status.Drained != words || explained.Refused != words {
			t.Errorf("%+v, %+v", status, explained)
		}
		if r := l.Try("berth", "drain", "off", "--message", "x"); r.Status != 1 {
			t.Errorf("%+v", r)
		}
		if out := l.Exec(t, "berth", "drain", "off"); out != "sessions can begin again\n" {
			t.Errorf("%q", out)
		}
		eventually(t, 10*time.Second, func() (bool, string) {
			r := finish(l.SSH("bob", "id -un"))
			return r.Out == "bob\n", fmt.Sprintf("%+v", r)
		})
		l.Exec(t, "berth", "drain", "on")
		l.refusal(t, finish(l.SSH("bob", "id")), "takes no new sessions now")
	}
}
