// SPDX-License-Identifier: Apache-2.0

package environ

import (
	"slices"
	"strings"
	"testing"
)

var facts = Facts{User: "alice", Home: "/home/alice", Path: "/usr/bin:/bin", TTY: true}

func value(env []string, name string) (string, bool) {
	for _, entry := range env {
		if n, v, _ := strings.Cut(entry, "="); n == name {
			return v, true
		}
	}
	return "", false
}

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		name, entry string
		want        string // "" = must be absent
	}{
		{"TERM", "TERM=xterm-256color", "xterm-256color"},
		{"TERM", "TERM=../../x", "dumb"},
		{"TERM", "TERM=.hidden", "dumb"},
		{"TERM", "TERM=", "dumb"},
		{"LANG", "LANG=C.UTF-8", "C.UTF-8"},
		{"LANG", "LANG=C\x1b]0;x\a", ""},
		{"LANG", "LANG=../../etc", ""},
		{"LC_ALL", "LC_ALL=de_DE.UTF-8@euro", "de_DE.UTF-8@euro"},
		{"TZ", "TZ=Europe/Berlin", "Europe/Berlin"},
		{"TZ", "TZ=/etc/shadow", ""},
		{"TZ", "TZ=:/etc/shadow", ""},
		{"TZ", "TZ=a/../../b", ""},
		{"SSH_CONNECTION", "SSH_CONNECTION=127.0.0.1 5 ::1%lo 22", "127.0.0.1 5 ::1%lo 22"},
		{"SSH_CLIENT", "SSH_CLIENT=`id`", ""},
		{"GIT_AUTHOR_NAME", "GIT_AUTHOR_NAME=Alice (x)", "Alice (x)"},
		{"GIT_X", "GIT_X=a\nb", ""},
		{"GIT_LONG", "GIT_LONG=" + strings.Repeat("a", 5000), ""},
		{"OTHER", "OTHER=1", ""},
		{"PATH", "PATH=/tmp", facts.Path},
		{"HOME", "HOME=/root", facts.Home},
		{"USER", "USER=root", "alice"},
		{"LD_PRELOAD", "LD_PRELOAD=/home/alice/x.so", ""},
		{"DOCKER_HOST", "DOCKER_HOST=tcp://x", ""},
		{"GODEBUG", "GODEBUG=x=1", ""},
		{"BASH_ENV", "BASH_ENV=x", ""},
		{"SSH_AUTH_SOCK", "SSH_AUTH_SOCK=/run/x", ""},
		{"SITE", "SITE=caller", "policy"},
	} {
		// Even a policy that accepts them all does not get those of the never-list.
		env := Build(facts, []string{c.entry}, []string{"GIT_*", "LD_*", "GODEBUG", "DOCKER_HOST", "BASH_ENV", "SSH_AUTH_SOCK", "SITE"}, map[string]string{"SITE": "policy"})
		if got, _ := value(env, c.name); got != c.want {
			t.Errorf("%s: got %q, want %q", c.entry, got, c.want)
		}
	}
}

// The agent is where berth has found it, whatever the caller says.
func TestAgent(t *testing.T) {
	f := facts
	f.Agent = "/home/alice/.ssh/agent/s.1"
	if got, _ := value(Build(f, []string{"SSH_AUTH_SOCK=/run/x"}, []string{"SSH_AUTH_SOCK"}, nil), "SSH_AUTH_SOCK"); got != f.Agent {
		t.Errorf("%q", got)
	}
}

func TestNoTTYNoTERM(t *testing.T) {
	env := Build(Facts{User: "a", Home: "/", Path: "/bin"}, []string{"TERM=xterm"}, nil, nil)
	if _, found := value(env, "TERM"); found {
		t.Errorf("TERM without a tty: %q", env)
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("TERM=x", "LC_A=b")
	f.Add("=", "HOME")
	f.Add("LD_PRELOAD=/x", "SSH_CONNECTION=\x00")
	f.Fuzz(func(t *testing.T, a, b string) {
		env := Build(facts, []string{a, b}, []string{"X_*"}, nil)
		if !slices.IsSorted(env) {
			t.Error("not sorted")
		}
		seen := map[string]bool{}
		for _, entry := range env {
			name, v, _ := strings.Cut(entry, "=")
			if seen[name] || !validName(name) || !printable(v) {
				t.Errorf("bad entry %q", entry)
			}
			seen[name] = true
			if strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "GO") {
				t.Errorf("never-list: %q", entry)
			}
		}
		if home, _ := value(env, "HOME"); home != facts.Home {
			t.Errorf("HOME %q", home)
		}
	})
}
