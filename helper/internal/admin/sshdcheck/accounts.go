// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
)

// account is a user as NSS has it, or one made up to be asked about.
type account struct {
	name   string
	gid    string
	uid    string
	shell  string
	groups []string // names, the primary one first
	probe  bool     // made up: judged where /etc/passwd has it too, see probe.go
}

func (a account) isMember(patterns []string) bool { return a.firstGroup(patterns) != "" }

// firstGroup returns the first of the account's groups that one of patterns names.
func (a account) firstGroup(patterns []string) string {
	for _, g := range a.groups {
		if matchesAny(g, patterns) {
			return g
		}
	}
	return ""
}

func matchesAny(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		matched, err := path.Match(p, name)
		return p == name || err == nil && matched
	})
}

// Members returns which of users are in the group.
func Members(users []string, gid uint32) (members []string) {
	id := strconv.FormatUint(uint64(gid), 10)
	for _, name := range users {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		if groups, err := account.GroupIds(); err == nil && slices.Contains(groups, id) {
			members = append(members, name)
		}
	}
	return members
}

// people are the accounts and groups that NSS knows.
type people struct {
	users  []account
	groups map[string]string // gid to name
	gids   map[string]string // name to gid
}

// lookUp asks NSS, as sshd does: getent(1) speaks to every service of
// nsswitch.conf. Primary groups count. Where a directory lists nobody, the
// members of targets' groups are asked for by name.
func lookUp(ctx context.Context, t targets) (people, error) {
	p := people{groups: map[string]string{}, gids: map[string]string{}}
	passwd, err := getent(ctx, "passwd")
	if err != nil {
		return p, err
	}
	table, err := getent(ctx, "group")
	if err != nil {
		return p, err
	}
	named, err := getent(ctx, "group", slices.Concat(t.groups, t.admins)...)
	if err != nil {
		return p, err
	}
	members := map[string][]string{} // user to groups
	var wanted []string
	seen := map[string]bool{}
	for _, f := range append(table, named...) {
		if len(f) < 4 || seen[f[0]] {
			continue
		}
		seen[f[0]] = true
		p.groups[f[2]] = cmp.Or(p.groups[f[2]], f[0])
		p.gids[f[0]] = f[2]
		for _, user := range strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' }) {
			members[user] = append(members[user], f[0])
			if matchesAny(f[0], t.groups) || matchesAny(f[0], t.admins) {
				wanted = append(wanted, user)
			}
		}
	}
	wanted = append(wanted, t.users...)
	known := map[string]bool{}
	for _, f := range passwd {
		known[f[0]] = true
	}
	wanted = slices.DeleteFunc(wanted, func(name string) bool { return known[name] || strings.ContainsAny(name, "*?") })
	if len(wanted) > 0 {
		more, err := getent(ctx, "passwd", wanted...)
		if err != nil {
			return p, err
		}
		passwd = append(passwd, more...)
	}
	once := map[string]bool{}
	for _, f := range passwd {
		if len(f) < 7 || once[f[0]] {
			continue
		}
		once[f[0]] = true
		primary := cmp.Or(p.groups[f[3]], f[3])
		groups := append([]string{primary}, members[f[0]]...)
		p.users = append(p.users, account{name: f[0], uid: f[2], gid: f[3], shell: f[6], groups: groups})
	}
	return p, nil
}

// getent returns the fields of a database's lines, or of those of keys.
func getent(ctx context.Context, database string, keys ...string) ([][]string, error) {
	out, err := exec.CommandContext(ctx, "getent", append([]string{database, "--"}, keys...)...).Output()
	var exit *exec.ExitError
	// 2: one of the keys is unknown; 3: there is no enumeration.
	if err != nil && !(errors.As(err, &exit) && (exit.ExitCode() == 2 || exit.ExitCode() == 3)) {
		return nil, fmt.Errorf("getent %s: %w", database, err)
	}
	var lines [][]string
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if l != "" {
			lines = append(lines, strings.Split(l, ":"))
		}
	}
	return lines, nil
}
