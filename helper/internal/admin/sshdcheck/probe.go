// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/helper/internal/policy"
)

// probes are accounts that are made up. The sshd that is asked about them runs in a mount
// namespace of its own, with copies of /etc/passwd and /etc/group that have them. So a group
// without a member can be judged, and an administrator who is in both groups, by sshd's own
// reading of Match.
type probes struct {
	dir      string
	accounts []account
}

// exitNoMount is the status of wrap's shell if it may not mount.
const exitNoMount = 99

var errNoProbe = errors.New("this host lets nobody mount, so no account can be made up")

const probeName = "berth-probe-"

// firstProbeID is where uids of probes begin, and gids of groups that do not exist yet. No
// account may have such an id.
const firstProbeID = 4294960000

func newProbes(p people, t targets, profiles []policy.Policy) (*probes, error) {
	dir, err := os.MkdirTemp("", "berth-check")
	if err != nil {
		return nil, err
	}
	b := &probes{dir: dir}
	if err := b.writeFiles(p, t, profiles); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *probes) close() { _ = os.RemoveAll(b.dir) }

func (b *probes) writeFiles(p people, t targets, profiles []policy.Policy) error {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		return err
	}
	literalNames := func(patterns []string) (names []string) {
		for _, name := range patterns {
			if !strings.ContainsAny(name, "*?") && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	}
	next := firstProbeID
	lines, groups := endLine(string(passwd)), endLine(string(group))
	add := func(primary string, others ...string) {
		name := fmt.Sprintf("%s%d", probeName, len(b.accounts)+1)
		gid := p.gids[primary]
		if gid == "" {
			next++
			gid = fmt.Sprint(next)
			groups += fmt.Sprintf("%s:x:%s:\n", primary, gid)
			p.gids[primary] = gid
		}
		for _, other := range others {
			groups = withMember(groups, other, name)
		}
		next++
		lines += fmt.Sprintf("%s:x:%d:%s::/nonexistent:/bin/sh\n", name, next, gid)
		b.accounts = append(b.accounts, account{
			name: name, uid: fmt.Sprint(next), gid: gid, shell: "/bin/sh",
			groups: append([]string{primary}, others...), probe: true,
		})
	}
	// A group of a directory server is in no file, and gets no member.
	listed := func(group string) bool { return strings.Contains("\n"+groups, "\n"+group+":") }
	for _, name := range literalNames(t.groups) {
		add(name)
		for _, admins := range literalNames(t.admins) {
			if listed(admins) {
				add(name, admins)
			}
		}
	}
	for _, profile := range profiles {
		if i := slices.IndexFunc(profile.Groups, listed); i >= 0 {
			add(Group, profile.Groups[i])
		}
	}
	return errors.Join(os.WriteFile(filepath.Join(b.dir, "passwd"), []byte(lines), 0o644),
		os.WriteFile(filepath.Join(b.dir, "group"), []byte(groups), 0o644))
}

func endLine(text string) string { return strings.TrimSuffix(text, "\n") + "\n" }

// withMember returns the text of a group file with one member more.
func withMember(text, group, user string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, group+":") {
			if !strings.HasSuffix(l, ":") {
				l += ","
			}
			lines[i] = l + user
			break
		}
	}
	return strings.Join(lines, "\n")
}

// wrap returns the command that runs argv where the probes exist. nscd, which would answer
// from the real files, cannot be reached there.
func (b *probes) wrap(argv []string) []string {
	const script = `mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group || exit 99
[ ! -d /run/nscd ] || mount -t tmpfs tmpfs /run/nscd || exit 99
shift
exec "$@"`
	// Also where unshare itself is refused the shell says so: its status is 1.
	const outer = `unshare --mount --propagation private true 2>/dev/null || exit 99
exec unshare --mount --propagation private sh -c "$@"`
	return append([]string{"sh", "-c", outer, "sh", script, "sh", b.dir}, argv...)
}
