// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/pam/internal/home"
	"berth/pam/internal/names"
	"berth/pam/internal/script"
)

// The tasks that the C side gives a worker (berth.h).
const (
	taskHome    = "berth-home-2"
	taskExec    = "berth-exec-2"
	taskNames   = "berth-names-2"
	taskPrepare = "berth-prepare-1"
)

// arguments are a worker's, each key once.
type arguments map[string]string

// argumentKeys lists each task's keys.
var argumentKeys = map[string][]string{
	taskHome:    {"user", "uid", "gid", "home", "groups", "skel", "umask", "mode", "authorized_keys", "existing", "ssh_dir"},
	taskNames:   {"user", "uid", "gid", "home", "gecos", "shell", "names"},
	taskPrepare: {"exec", "uid", "milliseconds"},
	taskExec:    {"user", "uid", "gid", "home", "exec", "timeout", "PAM_TYPE", "PAM_RHOST", "PAM_RUSER", "PAM_SERVICE", "PAM_TTY"},
}

// parseArguments splits a worker's argv. A key that it does not know comes from a newer C
// side and is an error: half of an option must not be obeyed.
func parseArguments(argv []string) (task string, args arguments, err error) {
	if len(argv) < 2 || argumentKeys[argv[1]] == nil {
		return "", nil, errors.New("this program is run by its PAM module alone")
	}
	args = arguments{}
	for _, arg := range argv[2:] {
		key, value, _ := strings.Cut(arg, "=")
		if _, twice := args[key]; twice {
			return "", nil, fmt.Errorf("argument %s comes twice", key)
		}
		if !contains(argumentKeys[argv[1]], key) {
			return "", nil, fmt.Errorf("argument %s is unknown", key)
		}
		args[key] = value
	}
	return argv[1], args, nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// homeRequest makes a request of the arguments. What the C side says must be
// right; what the administrator says wrongly is told to complain, and counts as
// not given.
func homeRequest(args arguments, complain func(string)) (r home.Request, err error) {
	var uerr, gerr error
	r.User, r.Path = args["user"], filepath.Clean(args["home"])
	r.UID, uerr = parseID(args["uid"])
	r.GID, gerr = parseID(args["gid"])
	if err := errors.Join(uerr, gerr); err != nil || r.User == "" || !filepath.IsAbs(args["home"]) {
		return r, fmt.Errorf("user, uid, gid and an absolute home are required: %q", args)
	}
	if groups := args["groups"]; groups != "" {
		for _, text := range strings.Split(groups, ",") {
			gid, err := parseID(text)
			if err != nil {
				return r, fmt.Errorf("argument groups: %w", err)
			}
			r.Groups = append(r.Groups, gid)
		}
	}
	r.Skel, r.Existing = "/etc/skel", home.Warn
	if skel, given := args["skel"]; given {
		if filepath.IsAbs(skel) {
			r.Skel, r.SkelGiven = filepath.Clean(skel), true
		} else {
			complain("skel=" + skel + " is not an absolute path and is ignored")
		}
	}
	r.Umask, r.UmaskGiven = octal(args, "umask", complain)
	r.Mode, r.ModeGiven = octal(args, "mode", complain)
	if keys := args["authorized_keys"]; keys == "" || filepath.IsAbs(keys) || strings.HasPrefix(keys, "%h/") {
		r.Keys = keys
	} else {
		complain("authorized_keys=" + keys + " is not an absolute path and is ignored")
	}
	switch existing, given := args["existing"]; home.Existing(existing) {
	case home.Ignore, home.Warn, home.Repair, home.Deny:
		r.Existing = home.Existing(existing)
	default:
		if given {
			complain("existing=" + existing + " is none of ignore, warn, repair and deny and is ignored")
		}
	}
	switch ssh, given := args["ssh_dir"]; {
	case ssh == "no":
		r.NoSSH = true
	case given && ssh != "yes":
		complain("ssh_dir=" + ssh + " is neither yes nor no and is ignored")
	}
	return r, nil
}

// octal reads the bits of a mode.
func octal(args arguments, key string, complain func(string)) (bits uint32, given bool) {
	text, given := args[key]
	if !given {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		complain(key + "=" + text + " is not an octal mode up to 0777 and is ignored")
		return 0, false
	}
	return uint32(n), true
}

// scriptPath is the PATH of a program that the worker runs.
const scriptPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// execRequest makes a script's call of the arguments.
func execRequest(args arguments) (script.Call, error) {
	seconds, err := strconv.Atoi(args["timeout"])
	if err != nil || seconds < 1 {
		return script.Call{}, fmt.Errorf("argument timeout: %q", args["timeout"])
	}
	c := script.Call{
		Task: "exec", Path: args["exec"], Timeout: time.Duration(seconds) * time.Second,
		Env: []string{scriptPath, "PAM_USER=" + args["user"]},
	}
	for _, key := range argumentKeys[taskExec] {
		if value, given := args[key]; given && strings.HasPrefix(key, "PAM_") {
			c.Env = append(c.Env, key+"="+value)
		}
	}
	return c, nil
}

// prepareRequest makes the call of `berth prepare UID` of the arguments: the uid is all that
// it gets of a user.
func prepareRequest(args arguments) (script.Call, error) {
	uid, uerr := parseID(args["uid"])
	ms, terr := strconv.Atoi(args["milliseconds"])
	if err := errors.Join(uerr, terr); err != nil || ms < 1 {
		return script.Call{}, fmt.Errorf("uid and milliseconds are required: %q", args)
	}
	return script.Call{
		Task: "prepare", Path: args["exec"], Args: []string{"prepare", strconv.Itoa(uid)}, Timeout: time.Duration(ms) * time.Millisecond,
		Env: []string{scriptPath},
	}, nil
}

// namesRecord makes a record of the arguments.
func namesRecord(args arguments) (names.Record, error) {
	uid, uerr := parseID(args["uid"])
	gid, gerr := parseID(args["gid"])
	if err := errors.Join(uerr, gerr); err != nil {
		return names.Record{}, fmt.Errorf("uid and gid are required: %q", args)
	}
	r := names.Record{User: args["user"], UID: uint32(uid), GID: uint32(gid), Gecos: args["gecos"], Home: args["home"], Shell: args["shell"],
		Groups: map[uint32]string{}}
	for _, line := range strings.Split(args["names"], "\n") {
		number, name, _ := strings.Cut(line, ":")
		if gid, err := strconv.ParseUint(number, 10, 32); err == nil {
			r.Groups[uint32(gid)] = name
		}
	}
	return r, nil
}

// parseID reads a uid or gid that a home and its owner may have: not root's, not
// the one that chown(2) takes for "leave it".
func parseID(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && (n == 0 || n == 1<<32-1) {
		err = strconv.ErrRange
	}
	return int(n), err
}
