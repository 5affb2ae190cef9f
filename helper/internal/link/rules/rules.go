// SPDX-License-Identifier: Apache-2.0

// Package rules is the part of the policy that the container's server goes by.
// `berth up` writes it as root; inside it is read-only. Each rule is a line
// key=value: nothing there needs a parser that could be surprised.
package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/rootfile"
)

// File is the rules' name in the directory of names.
const File = "rules"

// Rules are what the server and the sessions that it starts go by.
type Rules struct {
	UIDMin, UIDMax uint32
	Limit          int      // of one user's sessions, those being opened included
	Linger         bool     // what a session leaves behind may stay
	Shell          string   // for a user whose own shell is not in the container
	Processes      uint64   // RLIMIT_NPROC of each session (setrlimit(2))
	Held           []uint32 // groups whose members are as good as root
}

// Limits are those that package access goes by.
func (r Rules) Limits() access.Limits {
	return access.Limits{UIDMin: r.UIDMin, UIDMax: r.UIDMax, RootGroups: r.Held}
}

// ErrIncomplete is a list of rules that lacks one, or has one that is unknown,
// malformed or given twice.
var ErrIncomplete = errors.New("the rules are not whole")

// Words encodes r.
func (r Rules) Words() []string {
	held := make([]string, len(r.Held))
	for i, gid := range r.Held {
		held[i] = strconv.FormatUint(uint64(gid), 10)
	}
	return []string{
		fmt.Sprintf("uid_min=%d", r.UIDMin), fmt.Sprintf("uid_max=%d", r.UIDMax), fmt.Sprintf("limit=%d", r.Limit),
		fmt.Sprintf("linger=%t", r.Linger), "shell=" + r.Shell, fmt.Sprintf("processes=%d", r.Processes), "held=" + strings.Join(held, ","),
	}
}

// Parse decodes what Words made. Every rule must be there: none has a default
// that would be safe for every site.
func Parse(words []string) (Rules, error) {
	var r Rules
	var seen []string
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "uid_min":
			r.UIDMin, err = id(value)
		case "uid_max":
			r.UIDMax, err = id(value)
		case "limit":
			r.Limit, err = strconv.Atoi(value)
		case "linger":
			r.Linger, err = strconv.ParseBool(value)
		case "shell":
			r.Shell = value
		case "processes":
			r.Processes, err = strconv.ParseUint(value, 10, 32)
		case "held":
			for _, text := range strings.FieldsFunc(value, func(c rune) bool { return c == ',' }) {
				var gid uint32
				gid, err = id(text)
				r.Held = append(r.Held, gid)
				if err != nil {
					break
				}
			}
		default:
			return Rules{}, fmt.Errorf("%w: %q", ErrIncomplete, word)
		}
		if err != nil || slices.Contains(seen, key) {
			return Rules{}, fmt.Errorf("%w: %q", ErrIncomplete, word)
		}
		seen = append(seen, key)
	}
	if len(seen) != len(Rules{}.Words()) || r.UIDMin < 1 || r.Limit < 1 || r.Processes < 1 {
		return Rules{}, fmt.Errorf("%w: %q", ErrIncomplete, words)
	}
	return r, nil
}

func id(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// Load reads the file at path, which root must own and nobody else may write.
func Load(path string) (Rules, error) {
	text, err := rootfile.Read(path)
	if err != nil {
		return Rules{}, fmt.Errorf("%s: %w", path, err)
	}
	return Parse(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
}
