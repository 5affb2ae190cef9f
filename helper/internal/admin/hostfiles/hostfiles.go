// SPDX-License-Identifier: Apache-2.0

// Package hostfiles makes what a login needs on the host beside the container: the
// directories that both share, the rules that sessions go by, the directory for sessions that
// have no end in the log yet, and the link to the engine's socket. It checks the programs that sshd runs.
//
// Process: berth. As: root.
package hostfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/record"
	"berth/helper/internal/link/rootfile"
	"berth/helper/internal/link/rules"
	"berth/helper/internal/link/sessionlog"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// Dirs are the places.
type Dirs struct {
	Programs     string // what sshd runs
	EngineLink   string // leads to the engine's socket
	State        string // as policy.StateDir; what is not named below is in it
	Profiles     string // as policy.ProfilesDir
	Users        string // as policy.UsersDir
	Names        string // as policy.NamesDir
	Lifeline     string // as policy.LifelineDir
	Sessions     string // as sessionlog.Dir
	EmptyNetwork string // as policy.EmptyNetwork
}

// This is the host that the program runs on, with its configuration in configDir.
func This(configDir string) Dirs {
	return Dirs{
		Programs:     programsDir(),
		EngineLink:   filepath.Join(configDir, filepath.Base(policy.EngineLink)),
		State:        policy.StateDir,
		Profiles:     policy.ProfilesDir,
		Users:        policy.UsersDir,
		Names:        policy.NamesDir,
		Lifeline:     policy.LifelineDir,
		Sessions:     sessionlog.Dir,
		EmptyNetwork: policy.EmptyNetwork,
	}
}

// Prepare makes all that does not belong to one user, as the configuration demands. The
// notes are for the administrator.
func (d Dirs) Prepare(c policy.Config) (notes []Note, err error) {
	group, err := EngineGroup(c.Base.Engine.Socket)
	if err != nil {
		return nil, err
	}
	if c.Base.Transport != policy.Direct {
		if err := makeLifelineDir(d.Lifeline, int(group)); err != nil {
			return nil, err
		}
		if err := linkEngine(c.Base.Engine.Socket, d.EngineLink); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{d.Profiles, d.Users, d.Names} {
		if err := makeSharedDir(dir); err != nil {
			return nil, err
		}
	}
	if err := sessionlog.Prepare(d.Sessions); err != nil {
		return nil, err
	}
	if c.ForwardsPorts() {
		if err := d.MarkForwarding(c, false); err != nil {
			return nil, err
		}
	}
	covers, unknown := Covers(c)
	for _, name := range unknown {
		notes = append(notes, Note{Text: "berth.toml: " + name + " does not exist on this host, so nobody gets the profile by it"})
	}
	for _, p := range c.All() {
		if p.Mode == policy.Shared {
			if err := d.prepareShared(p, group, covers[p.Profile]); err != nil {
				return nil, err
			}
		}
	}
	if err := d.linkAnyUser(c.Base); err != nil {
		return nil, err
	}
	for _, value := range c.Base.Renamed {
		notes = append(notes, Note{Text: "berth.toml: " + value})
	}
	return append(notes, d.checkPrograms(c.Base.Transport, group)...), nil
}

// prepareShared makes what a shared container has on the host.
func (d Dirs) prepareShared(p policy.Policy, engineGroup uint32, cover access.Cover) error {
	dir := d.Dir(p)
	if p.Profile == policy.BaseProfile {
		if err := d.adoptOld(dir); err != nil {
			return err
		}
	}
	if err := makeSharedDir(dir); err != nil {
		return err
	}
	if err := d.copyDrained(dir); err != nil {
		return err
	}
	return writeRules(Rules(p, engineGroup, cover), filepath.Join(dir, rules.File))
}

// adoptOld takes over the directory of a container that berth 0.1 has made: it is the same
// directory to that container, whatever its name is here. When the engine starts the
// container again it finds it by the old name.
func (d Dirs) adoptOld(dir string) error {
	old := filepath.Join(d.State, "serve")
	if st, err := os.Lstat(old); err != nil || !st.IsDir() {
		return nil
	}
	if err := makeSharedDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Rename(old, dir); err != nil {
		return fmt.Errorf("%s: %w", old, err)
	}
	if err := os.Symlink(dir, old); err != nil {
		return fmt.Errorf("%s: %w", old, err)
	}
	return nil
}

// PrepareUser makes what the container of one user has on the host; p is the user's
// (policy.ForUser).
func (d Dirs) PrepareUser(p policy.Policy, uid uint32) error {
	group, err := EngineGroup(p.Engine.Socket)
	if err != nil {
		return err
	}
	dir := d.Dir(p)
	names := filepath.Join(d.Users, userNames(uid))
	for _, dir := range []string{d.Profiles, filepath.Dir(dir), dir, d.Users, names} {
		if err := makeSharedDir(dir); err != nil {
			return err
		}
	}
	text, err := rootfile.Read(record.Path(d.Names, uid))
	if err == nil {
		err = ReplaceFile(record.Path(names, uid), text)
	}
	if err != nil {
		return fmt.Errorf("names: %w", err)
	}
	return writeRules(Rules(p, group, access.Cover{Closed: true, Only: access.IDs{UIDs: []uint32{uid}}}), filepath.Join(dir, rules.File))
}

// Dir is what the policy's container shares with this host.
func (d Dirs) Dir(p policy.Policy) string {
	return filepath.Join(d.Profiles, p.Profile, p.Container.Name)
}

// namesSuffix is that of a directory in Users which has the record of one user alone.
const namesSuffix = ".names"

func userNames(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) + namesSuffix }

// LinkUser notes that the container of p is the one of the user called name in Users: a uid,
// or policy.AnyUser. It makes the link anew: its time says when that was found out.
func (d Dirs) LinkUser(name string, p policy.Policy) error {
	path := filepath.Join(d.Users, name)
	next := filepath.Join(d.Users, "."+name)
	_ = os.Remove(next)
	err := os.Symlink(filepath.Join("..", filepath.Base(d.Profiles), p.Profile, p.Container.Name), next)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("users: %w", err)
	}
	return nil
}

// linkAnyUser leads users without a link of their own to the container that all share.
func (d Dirs) linkAnyUser(base policy.Policy) error {
	if base.Mode == policy.Shared {
		return d.LinkUser(policy.AnyUser, base)
	}
	if err := os.Remove(filepath.Join(d.Users, policy.AnyUser)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("users: %w", err)
	}
	return nil
}

// Rules returns the rules that follow from the policy, the group of the engine's socket, and
// whom the policy is for.
func Rules(p policy.Policy, engineGroup uint32, cover access.Cover) rules.Rules {
	r := rules.Rules{
		UIDMin:    p.Users.UIDMin,
		UIDMax:    p.Users.UIDMax,
		Limit:     int(p.Session.Limit),
		Linger:    seconds(p.Session.Linger),
		Shell:     p.Session.Shell,
		Processes: uint64(p.Container.UserProcesses),
		Held:      []uint32{engineGroup},
		Cover:     cover,
		Spares:    spares,
	}
	if p.Mode == policy.PerUser {
		r.Idle, r.Spares = seconds(p.Container.Idle), 0
	}
	return r
}

// spares is how many supervisors wait in a shared container. A container of one user takes less memory without
// any, and a login there takes a few milliseconds longer.
const spares = 4

// seconds is a time as the rules have it.
func seconds(d time.Duration) int {
	if d == policy.Forever {
		return rules.Forever
	}
	return int((d + time.Second - 1) / time.Second)
}

// makeSharedDir makes a directory that the host shares with the container. Everybody may
// read it; root alone may change it and its parents.
func makeSharedDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = errors.Join(os.Chown(dir, 0, 0), os.Chmod(dir, 0o755))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

func writeRules(r rules.Rules, path string) error {
	if err := ReplaceFile(path, []byte(strings.Join(r.Words(), "\n")+"\n")); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	return nil
}

// ReplaceFile replaces a file at once: who reads it reads the old one or the new. The directory may be one in
// which a container's root can write, too, so nothing that is there is followed.
func ReplaceFile(path string, text []byte) error {
	next := path + ".new"
	_ = os.Remove(next)
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Chmod(0o644), file.Close(), os.Rename(next, path))
}

// makeLifelineDir makes the directory that only root and the engine's group may enter, and
// removes abandoned sockets from it.
func makeLifelineDir(dir string, group int) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("lifelines: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("lifelines: %w", err)
	}
	// Only root may change its parents. The mode is set last.
	if err := os.Chown(dir, 0, group); err != nil {
		return fmt.Errorf("lifelines: %w", err)
	}
	if err := unix.Chmod(dir, unix.S_ISVTX|0o730); err != nil {
		return fmt.Errorf("lifelines: %s: %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("lifelines: %w", err)
	}
	for _, entry := range entries {
		if path := filepath.Join(dir, entry.Name()); entry.Type()&fs.ModeSocket != 0 && isAbandoned(path) {
			_ = os.Remove(path)
		}
	}
	return nil
}

// isAbandoned reports whether nobody listens on the socket any more. It must not connect: a
// session that waits for its guest would take root's connection for it. A datagram socket
// cannot connect to a stream socket, and the error says whether anybody listens.
func isAbandoned(path string) bool {
	conn, err := net.Dial("unixgram", path)
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

// linkEngine makes path lead to the engine's socket, atomically.
func linkEngine(socket, path string) error {
	if target, err := os.Readlink(path); err == nil && target == socket {
		return nil
	}
	next := path + ".new"
	_ = os.Remove(next)
	if err := os.Symlink(socket, next); err != nil {
		return fmt.Errorf("engine link: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("engine link: %w", err)
	}
	return nil
}
