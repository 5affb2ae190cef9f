// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"slices"
	"strconv"
	"strings"
)

// outcome is how a module may end, in the words of control's brackets.
type outcome int

const (
	succeeds outcome = 1 << iota
	fails
)

// outcomes returns what a line may do to a login of the account. Of most modules
// nobody knows.
func (h Host) outcomes(e entry, a account) outcome {
	switch e.module {
	case "pam_permit.so":
		return succeeds
	case "pam_deny.so":
		return fails
	case "pam_succeed_if.so":
		return succeedIf(e.args, a)
	}
	return succeeds | fails
}

// succeedIf does what pam_succeed_if does with conditions about groups, names,
// ids and shells. Of any other it knows nothing.
func succeedIf(args []string, a account) outcome {
	known := succeeds
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "debug", "quiet", "quiet_fail", "quiet_success", "audit", "use_uid":
			continue
		}
		if i+2 >= len(args) {
			return succeeds | fails
		}
		switch condition(args[i], args[i+1], args[i+2], a) {
		case fails:
			return fails // all must hold
		case succeeds | fails:
			known = succeeds | fails
		}
		i += 2
	}
	return known
}

func condition(left, how, right string, a account) outcome {
	is := func(b bool) outcome {
		if b {
			return succeeds
		}
		return fails
	}
	value, known := map[string]string{"user": a.name, "uid": a.uid, "gid": a.gid, "shell": a.shell}[left]
	list := strings.Split(right, ":")
	member := slices.ContainsFunc(a.groups, func(g string) bool { return slices.Contains(list, g) })
	switch {
	case left == "user" && how == "ingroup":
		return is(member)
	case left == "user" && how == "notingroup":
		return is(!member)
	case !known:
		return succeeds | fails
	}
	have, err1 := strconv.ParseInt(value, 10, 64)
	want, err2 := strconv.ParseInt(right, 10, 64)
	switch how {
	case "=":
		return is(value == right)
	case "!=":
		return is(value != right)
	case "in":
		return is(slices.Contains(list, value))
	case "notin":
		return is(!slices.Contains(list, value))
	}
	if err1 != nil || err2 != nil {
		return succeeds | fails
	}
	switch how {
	case "eq":
		return is(have == want)
	case "ne":
		return is(have != want)
	case "lt":
		return is(have < want)
	case "le":
		return is(have <= want)
	case "gt":
		return is(have > want)
	case "ge":
		return is(have >= want)
	}
	return succeeds | fails
}

// actions returns what libpam may do after a line: ignore, ok, bad, die, done,
// reset, or a number of lines to jump over.
func actions(control string, o outcome) (out []string) {
	ok, bad := "", ""
	switch control {
	case "required":
		ok, bad = "ok", "bad"
	case "requisite":
		ok, bad = "ok", "die"
	case "sufficient":
		ok, bad = "done", "ignore"
	case "optional", "":
		ok, bad = "ok", "ignore"
	default:
		return bracketActions(control, o)
	}
	if o&succeeds != 0 {
		out = append(out, ok)
	}
	if o&fails != 0 {
		out = append(out, bad)
	}
	return out
}

func bracketActions(control string, o outcome) (out []string) {
	success, others := "", []string{}
	byDefault := "bad"
	for _, pair := range strings.Fields(strings.Trim(control, "[]")) {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "success":
			success = value
		case "default":
			byDefault = value
		default:
			others = append(others, value)
		}
	}
	if success == "" {
		success = byDefault
	}
	if o&succeeds != 0 {
		out = append(out, success)
	}
	if o&fails != 0 {
		out = append(append(out, byDefault), others...)
	}
	return out
}

// after returns the line that follows line i after an action.
func after(entries []entry, i int, action string) int {
	level := entries[i].level
	jump, err := strconv.Atoi(action)
	switch {
	case action == "die" || action == "done":
		// The rest of the substack; at the top, of all.
		for i++; i < len(entries) && entries[i].level >= level && level > 0; i++ {
		}
		if level == 0 {
			return len(entries)
		}
		return i
	case err != nil:
		return i + 1
	}
	for i++; jump > 0 && i < len(entries) && entries[i].level >= level; jump-- {
		for i++; i < len(entries) && entries[i].level > level; i++ { // a substack is one
		}
	}
	return i
}

// reach returns the lines that a login of the account may come to, whatever
// modules do that nobody knows; smooth, those of one in which they all succeed.
func (h Host) reach(entries []entry, a account, smooth bool) []entry {
	seen := make([]bool, len(entries))
	next := []int{0}
	for len(next) > 0 {
		i := next[0]
		next = next[1:]
		if i >= len(entries) || seen[i] {
			continue
		}
		seen[i] = true
		e := entries[i]
		o := h.outcomes(e, a)
		if e.control == "" || smooth && o&succeeds != 0 {
			o = succeeds
		}
		for _, action := range actions(e.control, o) {
			next = append(next, after(entries, i, action))
		}
	}
	var out []entry
	for i, e := range entries {
		if seen[i] {
			out = append(out, e)
		}
	}
	return out
}
