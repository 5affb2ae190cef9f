// SPDX-License-Identifier: Apache-2.0

// Package rules is the part of the policy that the container's server goes by.
// `berth up` writes it as root; inside only root can reach it. Each rule is a line
// key=value: nothing there needs a parser that could be surprised.
package rules

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/rootfile"
)

// File is the rules' name in the directory that the container and the host share.
const File = "rules"

// Rules are what the server and the sessions that it starts go by.
type Rules struct {
	UIDMin, UIDMax uint32
	Limit          int      // of one user's sessions, those being opened included
	Linger         int      // for so many seconds what a session leaves behind may stay; Forever; 0: not at all
	Shell          string   // for a user whose own shell is not in the container
	Processes      uint64   // RLIMIT_NPROC of each session (setrlimit(2))
	Held           []uint32 // groups whose members are as good as root
	Idle           int      // after so many seconds without a use the container ends; 0: never
	Spares         int      // so many supervisors wait for sessions; 0: none while nobody calls
}

// Forever is a Linger without an end.
const Forever = -1

// rule is one rule: its name, and how its field is written and read.
type rule struct {
	name  string
	write func(Rules) string
	read  func(*Rules, string) error
}

// table is all rules in the order of the file. A rule is a field of Rules and an entry
// here; `berth up` gives it its value (admin/hostfiles, Rules).
var table = []rule{
	number("uid_min", func(r *Rules) *uint32 { return &r.UIDMin }, 1),
	number("uid_max", func(r *Rules) *uint32 { return &r.UIDMax }, 0),
	number("limit", func(r *Rules) *int { return &r.Limit }, 1),
	number("linger", func(r *Rules) *int { return &r.Linger }, Forever),
	text("shell", func(r *Rules) *string { return &r.Shell }),
	number("processes", func(r *Rules) *uint64 { return &r.Processes }, 1),
	ids("held", func(r *Rules) *[]uint32 { return &r.Held }),
	number("idle", func(r *Rules) *int { return &r.Idle }, 0),
	number("spares", func(r *Rules) *int { return &r.Spares }, 0),
}

func number[T int | uint32 | uint64](name string, field func(*Rules) *T, least T) rule {
	return rule{name,
		func(r Rules) string { return fmt.Sprint(*field(&r)) },
		func(r *Rules, value string) error {
			n, err := strconv.ParseInt(value, 10, 64)
			if *field(r) = T(n); err == nil && (*field(r) < least || (*field(r) < 0) != (n < 0) || int64(*field(r)) != n || n > math.MaxUint32) {
				err = strconv.ErrRange
			}
			return err
		}}
}

func text(name string, field func(*Rules) *string) rule {
	return rule{name,
		func(r Rules) string { return *field(&r) },
		func(r *Rules, value string) error {
			*field(r) = value
			return nil
		}}
}

func ids(name string, field func(*Rules) *[]uint32) rule {
	return rule{name,
		func(r Rules) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(*field(&r)), " ", ","), "[]") },
		func(r *Rules, value string) error {
			for _, word := range strings.FieldsFunc(value, func(c rune) bool { return c == ',' }) {
				n, err := id(word)
				if err != nil {
					return err
				}
				*field(r) = append(*field(r), n)
			}
			return nil
		}}
}

func id(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// Limits are those that package access goes by.
func (r Rules) Limits() access.Limits {
	return access.Limits{UIDMin: r.UIDMin, UIDMax: r.UIDMax, RootGroups: r.Held}
}

// ErrIncomplete is a list of rules that lacks one, or has one that is unknown,
// malformed or given twice.
var ErrIncomplete = errors.New("the rules are incomplete")

// Words encodes r.
func (r Rules) Words() []string {
	words := make([]string, len(table))
	for i, rule := range table {
		words[i] = rule.name + "=" + rule.write(r)
	}
	return words
}

// Parse decodes what Words made. Every rule must be there: none has a default
// that would be safe for every site.
func Parse(words []string) (Rules, error) {
	var r Rules
	seen := make([]bool, len(table))
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		i := slices.IndexFunc(table, func(t rule) bool { return t.name == name })
		if i < 0 || seen[i] || table[i].read(&r, value) != nil {
			return Rules{}, fmt.Errorf("%w: %q", ErrIncomplete, word)
		}
		seen[i] = true
	}
	if slices.Contains(seen, false) {
		return Rules{}, fmt.Errorf("%w: %q", ErrIncomplete, words)
	}
	return r, nil
}

// Load reads the file at path, which root must own and nobody else may write.
func Load(path string) (Rules, error) {
	text, err := rootfile.Read(path)
	if err != nil {
		return Rules{}, fmt.Errorf("%s: %w", path, err)
	}
	return Parse(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
}
