// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"fmt"
	"os"
	"path/filepath"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// Note is what an administrator should know although nothing failed.
type Note struct {
	Text     string
	Fatal    bool     // nobody can log in
	Profiles []string // it concerns the users of these only; none: everybody
}

// programsDir is where the programs that sshd runs are installed: beside this one
// (PREFIX/sbin/berth), whatever PREFIX is.
func programsDir() string {
	self, err := os.Executable()
	if err != nil {
		return paths.Guest
	}
	return filepath.Join(filepath.Dir(filepath.Dir(self)), "libexec", "berth")
}

// Session is berth-session, as it is installed.
func (d Dirs) Session() string { return filepath.Join(d.Programs, "berth-session") }

// SourcesVariable names a directory of the host that holds guest, lifeline, names, profiles
// and users, as the engine sees them. It is for development: a lab has them in a mount
// namespace of its own, and the engine would find the real host's at berth's own paths.
// berth is root's own command, so root's environment may say so; no login reads it.
const SourcesVariable = "BERTH_SOURCES"

// Sources returns what the engine is told to mount for berth itself into the container of p.
func (d Dirs) Sources(p policy.Policy) (policy.Sources, error) {
	if dir := os.Getenv(SourcesVariable); dir != "" && !filepath.IsAbs(dir) {
		return policy.Sources{}, fmt.Errorf("%s must be an absolute path", SourcesVariable)
	}
	s := policy.Sources{Guest: source(filepath.Join(d.Programs, "guest")), Lifeline: source(d.Lifeline), Names: source(d.Names)}
	s.Serve = filepath.Join(d.ProfilesSource(), p.Profile, p.Container.Name)
	if p.Mode == policy.PerUser {
		s.Names = filepath.Join(source(d.Users), userNames(p.Person.UID))
	}
	return s, nil
}

// ProfilesSource is Profiles as the engine sees it.
func (d Dirs) ProfilesSource() string { return source(d.Profiles) }

// source is a directory of State as the engine sees it.
func source(dir string) string {
	if elsewhere := os.Getenv(SourcesVariable); elsewhere != "" {
		return filepath.Join(elsewhere, filepath.Base(dir))
	}
	return dir
}

// EngineGroup returns the group that owns the engine's socket.
func EngineGroup(socket string) (uint32, error) {
	var st unix.Stat_t
	err := unix.Stat(socket, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		err = unix.ENOTSOCK
	}
	if err != nil {
		return 0, fmt.Errorf("engine.socket: %s: %w", socket, err)
	}
	return st.Gid, nil
}

// CheckPrograms returns what is wrong with the programs that sshd runs.
func (d Dirs) CheckPrograms(p policy.Policy) []Note {
	group, err := EngineGroup(p.Engine.Socket)
	if err != nil && p.Transport != policy.Direct {
		return []Note{{Text: err.Error()}}
	}
	return d.checkPrograms(p.Transport, group)
}

func (d Dirs) checkPrograms(transport string, engineGroup uint32) (notes []Note) {
	add := func(fatal bool, format string, args ...any) {
		notes = append(notes, Note{Text: fmt.Sprintf(format, args...), Fatal: fatal})
	}
	const specialBits = unix.S_ISUID | unix.S_ISGID
	var st unix.Stat_t
	switch err := unix.Stat(d.Session(), &st); {
	case err != nil:
		add(true, "%s: %v: nobody can log in", d.Session(), err)
	case st.Uid != 0 || st.Mode&(specialBits|0o022) != 0:
		add(true, "%s must be root's, writable by nobody else, with no special bit", d.Session())
	}
	path := d.Session() + "-exec"
	err := unix.Stat(path, &st)
	usable := err == nil && st.Gid == engineGroup && st.Mode&specialBits == unix.S_ISGID && st.Uid == 0
	switch {
	case transport == policy.Direct && err == nil && st.Mode&specialBits != 0:
		add(false, "%s has a special bit that transport direct has no use for: remove it", path)
	case transport == policy.Exec && !usable:
		add(true, "%s must be root's and setgid to gid %d, which owns the engine's socket: nobody can log in", path, engineGroup)
	case transport == policy.Auto && err == nil && !usable:
		add(false, "%s must be root's and setgid to gid %d, which owns the engine's socket: without it no login starts a stopped container",
			path, engineGroup)
	}
	return notes
}
