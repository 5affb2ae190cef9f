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
	success outcome = 1 << iota
	failure
)

// outcomes returns how a module may end for a login of the account. Of most modules that is
// unknown.
func (h Host) outcomes(e entry, a account) outcome {
	switch e.module {
	case "pam_permit.so":
		return success
	case "pam_deny.so":
		return failure
	case "pam_succeed_if.so":
		return succeedIf(e.args, a)
	}
	return success | failure
}

// succeedIf does what pam_succeed_if does with conditions about groups, names,
// ids and shells. Of any other it knows nothing.
func succeedIf(args []string, a account) outcome {
	known := success
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "debug", "quiet", "quiet_fail", "quiet_success", "audit", "use_uid":
			continue
		}
		if i+2 >= len(args) {
			return success | failure
		}
		switch condition(args[i], args[i+1], args[i+2], a) {
		case failure:
			return failure // all must hold
		case success | failure:
			known = success | failure
		}
		i += 2
	}
	return known
}

func condition(left, how, right string, a account) outcome {
	is := func(b bool) outcome {
		if b {
			return success
		}
		return failure
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
		return success | failure
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
		return success | failure
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
	return success | failure
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
	if o&success != 0 {
		out = append(out, ok)
	}
	if o&failure != 0 {
		out = append(out, bad)
	}
	return out
}

func bracketActions(control string, o outcome) (out []string) {
	onSuccess, others := "", []string{}
	onDefault := "bad"
	for _, pair := range strings.Fields(strings.Trim(control, "[]")) {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "success":
			onSuccess = value
		case "default":
			onDefault = value
		default:
			others = append(others, value)
		}
	}
	if onSuccess == "" {
		onSuccess = onDefault
	}
	if o&success != 0 {
		out = append(out, onSuccess)
	}
	if o&failure != 0 {
		out = append(append(out, onDefault), others...)
	}
	return out
}

// nextLine returns the line that follows line i after an action.
func nextLine(entries []entry, i int, action string) int {
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

// reach returns the lines that a login of the account may come to, however unknown modules
// end. With allSucceed they all succeed, as far as they can.
func (h Host) reach(entries []entry, a account, allSucceed bool) []entry {
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
		if e.control == "" || allSucceed && o&success != 0 {
			o = success
		}
		for _, action := range actions(e.control, o) {
			next = append(next, nextLine(entries, i, action))
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
