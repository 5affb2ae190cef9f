// SPDX-License-Identifier: Apache-2.0

// Package environ makes the environment of the user's first process in the
// container: facts that berth knows, what the policy sets, and those of the
// caller's variables that an allow-list lets through. It is a pure function of
// its input; every byte of the caller's is taken for hostile.
package environ

import (
	"slices"
	"strings"
)

// Facts are the variables that berth itself vouches for.
type Facts struct {
	User, Home, Path string
	TTY              bool
	Agent            string // the path of the agent's socket, as it is in the container, too; empty: none
}

// allowed is what a client may send to any account: what sshd_config of Debian
// accepts, and what programs need to draw and to say where a login came from.
var allowed = []string{"TERM", "COLORTERM", "LANG", "LANGUAGE", "LC_*", "TZ", "SSH_CLIENT", "SSH_CONNECTION"}

// forbidden is refused even when the policy lists it: it changes what a loader, an
// interpreter or a tool runs, or who one is taken for.
var forbidden = []string{
	"LD_*", "GO*", "CGO_*", "DOCKER_*", "BASH_*", "ENV", "IFS", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "ZDOTDIR",
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "MAIL", "PWD", "OLDPWD", "TMPDIR", "SSH_TTY", "SSH_ORIGINAL_COMMAND",
	"PYTHON*", "PERL*", "RUBY*", "NODE_*", "GCONV_PATH", "LOCPATH", "NLSPATH", "GETCONF_DIR", "RES_OPTIONS", "HOSTALIASES",
	"LOCALDOMAIN", "MALLOC_*", "NIS_PATH", "TERMINFO*", "TERMCAP", "TERMPATH", "XDG_*", "KRB5*", "SSH_AUTH_SOCK",
}

// maxValue bounds a value, in bytes.
const maxValue = 4096

// Build returns NAME=value strings. accept holds more names or PREFIX_*
// patterns, set what the policy sets; set wins over the caller, facts over all.
func Build(facts Facts, caller []string, accept []string, set map[string]string) []string {
	values := map[string]string{}
	for _, entry := range caller {
		name, value, found := strings.Cut(entry, "=")
		if !found || !validName(name) || match(forbidden, name) {
			continue
		}
		if match(allowed, name) && validValue(name, value) || match(accept, name) && printable(value) {
			values[name] = value
		}
	}
	for name, value := range set {
		values[name] = value
	}
	if !facts.TTY {
		delete(values, "TERM") // sshd sets it with a pty alone (session.c, do_setup_env)
	} else if values["TERM"] == "" {
		values["TERM"] = "dumb"
	}
	values["USER"], values["LOGNAME"] = facts.User, facts.User
	values["HOME"] = facts.Home
	values["PATH"] = facts.Path
	if facts.Agent != "" {
		values["SSH_AUTH_SOCK"] = facts.Agent
	}
	env := make([]string, 0, len(values))
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func match(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, wild := strings.CutSuffix(p, "*")
		return p == name || wild && strings.HasPrefix(name, prefix)
	})
}

func validName(name string) bool {
	for i, r := range []byte(name) {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// validValue knows the form of each variable that anybody may send. All of
// them end up in a file name or on a screen somewhere: terminfo(5) and
// locale(7) turn names into paths.
func validValue(name, value string) bool {
	switch {
	case name == "TERM":
		return len(value) <= 64 && consistsOf(value, "+-._") && value[0] != '.' && value[0] != '-'
	case name == "COLORTERM":
		return len(value) <= 64 && consistsOf(value, "-_.")
	case name == "LANG" || name == "LANGUAGE" || strings.HasPrefix(name, "LC_"):
		return len(value) <= 128 && consistsOf(value, "-_.@:=,+")
	case name == "TZ":
		return len(value) <= 64 && consistsOf(value, "/+-_,.<>:") && value[0] != '/' && value[0] != ':' && !strings.Contains(value, "..")
	case name == "SSH_CLIENT" || name == "SSH_CONNECTION":
		return len(value) <= 256 && consistsOf(value, ".:% -_")
	}
	return false
}

// consistsOf reports whether value is not empty and of letters, digits and others.
func consistsOf(value, others string) bool {
	for _, r := range []byte(value) {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(others, rune(r)) {
			return false
		}
	}
	return value != ""
}

func printable(value string) bool {
	for _, r := range []byte(value) {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return len(value) <= maxValue
}
