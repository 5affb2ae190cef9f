// SPDX-License-Identifier: Apache-2.0

// Package life is about containers of users of their own, from the first login to the idle end and what
// comes between: many logins at once, deaths, an engine that fails, what is left.
package life

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

// life is a lab in which the members of kayakers, alice and carol among them, have containers of their own.
type life struct {
	*labs.Lab
	docker []string // the command for its engine
}

const own = "[profile.own]\ngroups = [\"kayakers\"]\nmode = \"user\"\n"

// begin raises one. Base is laid over the tables that all users have, and container over those of the
// profile's containers; socket is the engine's, "" the machine's.
func begin(t testing.TB, socket, base, container string) life {
	t.Helper()
	l := life{docker: []string{"docker"}}
	config := "[engine]\ntimeout = \"5s\"\n"
	if socket != "" {
		config += fmt.Sprintf("socket = %q\n", socket)
		l.docker = append(l.docker, "-H", "unix://"+socket)
	}
	config += "[container]\nimage = \"berth:busybox\"\n" + base + own
	if container != "" {
		config += "[profile.own.container]\n" + container
	}
	l.Lab = labs.New(t, config)
	return l
}

// addUsers makes accounts of kayakers, who have alice's key, and no home yet.
func (l life) addUsers(t testing.TB, n int) []string {
	t.Helper()
	alice, err := strconv.Atoi(l.UID(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var script strings.Builder
	for i := range n {
		name, uid := fmt.Sprintf("u%02d", i), 100_000+alice*100+i // nobody else's, in any lab
		names = append(names, name)
		fmt.Fprintf(&script, "echo '%s:x:%d:%[2]d::/home/%[1]s:/bin/sh' >>/etc/passwd; echo '%[1]s:x:%[2]d:' >>/etc/group\n", name, uid)
		fmt.Fprintf(&script, "echo '%s:*:19000:0:99999:7:::' >>/etc/shadow; cp %s /etc/berth/authorized_keys/%[1]s\n", name, l.Path("keys/alice.pub"))
	}
	fmt.Fprintf(&script, "sed -i -E '/^(berth|kayakers):/s/$/,%s/' /etc/group\n", strings.Join(names, ","))
	l.Exec(t, "sh", "-ec", script.String())
	return names
}

// login runs a command of user's.
func (l life) login(user, command string) labs.Result {
	return labs.Finish(l.ssh(user, command))
}

func (l life) ssh(user, command string, options ...string) *exec.Cmd {
	key := user
	if regexp.MustCompile(`^u\d`).MatchString(user) {
		key = "alice"
	}
	return l.SSH(key, append(options, "-l", user, command)...)
}

// works logs the users in, who must get in.
func (l life) works(t testing.TB, users ...string) {
	t.Helper()
	for _, user := range users {
		if r := l.login(user, "id -un"); r.Out != user+"\n" || r.Err != "" || r.Status != 0 {
			t.Fatalf("%s: %+v\n%s", user, r, l.why(t, r))
		}
	}
}

var idForm = regexp.MustCompile(`\(id ([0-9a-f]{8})-`)

// why is what the log has with the id of a login that was refused: PAM's lines have the connection's alone.
func (l life) why(t testing.TB, r labs.Result) string {
	t.Helper()
	id := idForm.FindStringSubmatch(r.Err)
	if id == nil {
		return ""
	}
	var lines strings.Builder
	for line := range strings.Lines(l.log(t)) {
		if strings.Contains(line, id[1]) {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// refused checks that r is of somebody who did not get in, told so in one line with an id, and returns what
// the log has with that id.
func (l life) refused(t testing.TB, r labs.Result, words ...string) string {
	t.Helper()
	if r.Status != 255 || r.Out != "" || !oneLine.MatchString(r.Err) {
		t.Fatalf("not one line with an id and status 255: %+v", r)
	}
	for _, word := range words {
		if !strings.Contains(r.Err, word) {
			t.Errorf("%q does not say %q", r.Err, word)
		}
	}
	var log string
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		log = l.why(t, r)
		return strings.Contains(log, "reason="), log
	})
	return log
}

// oneLine is what a user reads who does not get in.
var oneLine = regexp.MustCompile(`^berth: [^\n]* \(id [0-9a-f]{8}-[0-9a-f]{8}\)\n$`)

func (l life) log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(l.Path("log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// uid is a user's.
func (l life) uid(t testing.TB, user string) string {
	t.Helper()
	return strings.TrimSpace(l.Exec(t, "id", "-u", user))
}

// container is the name of a user's own.
func (l life) container(t testing.TB, user string) string {
	t.Helper()
	return l.Container(t) + "-own-" + l.uid(t, user)
}

// dir is what it shares with the host.
func (l life) dir(t testing.TB, user string) string {
	t.Helper()
	return filepath.Join(l.Path("profiles/own"), l.container(t, user))
}

// engine runs docker for the lab's engine.
func (l life) engine(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(l.docker[0], append(l.docker[1:], args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// state is a container's status, exit code, and how often it was started again; "" if there is none.
func (l life) state(name string) string {
	out, err := exec.Command(l.docker[0], append(l.docker[1:], "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", name)...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// remove has containers gone.
func (l life) remove(t testing.TB, names ...string) {
	t.Helper()
	l.engine(t, append([]string{"rm", "-f"}, names...)...)
}

func (l life) awaitState(t testing.TB, name, want string) {
	t.Helper()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		is := l.state(name)
		return is == want, fmt.Sprintf("%s is %q, not %q", name, is, want)
	})
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
