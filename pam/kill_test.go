// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// situation is one in which a worker has something to change.
type situation struct {
	options string
	prepare string // a shell line, in an empty /home
	atOnce  bool   // a home is not there, or whole
	between string // a pattern of lines that are allowed as well, because the next login goes on from there
	least   int    // calls that change something; fewer mean that the test looks at nothing
}

const makeHome = "install -d -m 700 -o 4711 -g 4711 $H $H/.ssh; touch $H/.ssh/authorized_keys; chown 4711 $H/.ssh/*"

var situations = map[string]situation{
	"first home":             {options: "authorized_keys=$V/keys exec=$V/script exec_failure=deny", atOnce: true, least: 50},
	"missing keys":           {options: "authorized_keys=$V/keys", prepare: "install -d -m 700 -o 4711 -g 4711 $H; echo x >$H/hers; chown 4711:4711 $H/hers", least: 8},
	"only keys":              {options: "authorized_keys=$V/keys", prepare: "install -d -m 700 -o 4711 -g 4711 $H $H/.ssh", least: 7},
	"root's home":            {options: "existing=repair mode=0711", prepare: "mkdir $H", between: "^d07.. root a/b/nina$", least: 8},
	"a world's home":         {options: "existing=repair", prepare: makeHome + "; chmod 777 $H", least: 2},
	"a script":               {options: "exec=$V/script exec_failure=deny", prepare: makeHome, least: 6},
	"a script that may fail": {options: "exec=$V/script", prepare: makeHome, least: 6},
}

// Names that only what is being made has.
var temporary = regexp.MustCompile(`\.berth-new\.|\.authorized_keys\.berth\.`)

// The worker, or the host while it works, is killed at each system call that
// changes something. A home is there or not, what is in one is as before or as
// it should be, the host goes on as it must, and the next login puts all right.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	killer := compileTestdata(t, "kill")
	for name, c := range situations {
		for _, whom := range []string{"worker", "host"} {
			t.Run(name+"/"+whom, func(t *testing.T) {
				t.Parallel()
				c.try(t, killer, whom)
			})
		}
	}
}

// try kills whom at each call, in a site of its own.
func (c situation) try(t *testing.T, killer, whom string) {
	place, script := program(t, "echo hello; echo more >&2\n")
	s := newSite(t, strings.ReplaceAll(c.options, "$V", place))
	s.write("passwd", "root:x:0:0:root:/root:/bin/sh\nnina:x:4711:4711::/home/a/b/nina:/bin/sh\n", 0o644)
	s.shell(fmt.Sprintf(`cd %s; mkdir -p skel/.ssh; echo 'Host *' >skel/.ssh/config; truncate -s 1M skel/sparse; printf end >>skel/sparse
setfattr -n user.color -v blue skel/.profile; setfacl -m u:4712:r skel/.profile; setfacl -d -m u:4712:rx skel/sub; echo 'ssh-ed25519 key' >%s/keys; chmod 644 %[2]s/keys; test -x %s`, s.dir, place, script))
	s.keep()
	prepare := func() []string {
		t.Helper()
		s.exec("", "sh", "-ec", "rm -rf /home/a; umask 022; H=/home/a/b/nina; mkdir -p /home/a/b; [ -n '"+c.prepare+"' ] || rm -rf /home/a; "+c.prepare)
		return s.details()
	}
	attempt := func(n int) string {
		t.Helper()
		start := time.Now()
		defer func() {
			if took := time.Since(start); took > 20*time.Second { // timeout= is 30 s
				t.Errorf("call %d: took %v", n, took)
			}
		}()
		return s.exec("", killer, fmt.Sprint(n), whom, built.host, s.dir+"/pam.d", "test", user, "plain")
	}

	before := prepare()
	out := attempt(0)
	checkLines(t, out, "open 0 close 0", "ended after")
	whole, calls := s.details(), 0
	if _, err := fmt.Sscanf(out[strings.LastIndex(out, "ended after"):], "ended after %d", &calls); err != nil || calls < c.least {
		t.Fatalf("%d calls that change something, %v; at least %d were expected", calls, err, c.least)
	}
	for n := 1; n <= calls; n++ {
		if now := prepare(); !slices.Equal(now, before) {
			t.Fatalf("call %d: prepared\n%q", n, now)
		}
		out := attempt(n)
		_, at, killed := strings.Cut(out, "killed in ")
		at, _, _ = strings.Cut(at, "\n")
		if !killed {
			t.Fatalf("call %d of %d was not reached:\n%s", n, calls, out)
		}
		at = fmt.Sprintf("call %d, %s", n, at)
		c.checkAnswer(t, at, out, whom)
		s.checkNothingRuns()
		c.checkState(t, at, before, s.details(), whole)
		checkLines(t, s.session("", user), "open 0 close 0")
		if now := s.details(); !slices.Equal(now, whole) {
			t.Errorf("%s: after the next login\n%s\ninstead of\n%s", at, strings.Join(now, "\n"), strings.Join(whole, "\n"))
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d calls", calls)
}

// checkAnswer checks what the host returned: no result means a refusal, but for a
// script's whose failure is ignored.
func (c situation) checkAnswer(t *testing.T, at, out, whom string) {
	t.Helper()
	_, answer, open := strings.Cut(out, "\nopen ")
	if whom == "host" {
		if open {
			t.Errorf("%s: the host lived:\n%s", at, out)
		}
		return
	}
	expected := "14"
	if strings.Contains(at, "berth-exec") {
		expected = "0 close 14" // or the opening failed
		if !strings.Contains(c.options, "exec_failure=deny") {
			expected = "0 close 0"
		}
	}
	if !strings.HasPrefix(answer, expected) && !(expected == "0 close 14" && strings.HasPrefix(answer, "14")) {
		t.Errorf("%s: answered %q", at, answer)
	}
}

// checkState checks that the state is one of the two, but for what the next login
// removes.
func (c situation) checkState(t *testing.T, at string, before, now, whole []string) {
	t.Helper()
	now = slices.DeleteFunc(now, temporary.MatchString)
	for _, line := range now {
		if !slices.Contains(before, line) && !slices.Contains(whole, line) && (c.between == "" || !regexp.MustCompile(c.between).MatchString(line)) {
			t.Errorf("%s: neither as before nor as it should be: %s", at, line)
		}
	}
	if c.atOnce && slices.ContainsFunc(now, func(line string) bool { return strings.Contains(line, "a/b/nina") }) && !slices.Equal(now, whole) {
		t.Errorf("%s: a half-made home:\n%s", at, strings.Join(now, "\n"))
	}
}
