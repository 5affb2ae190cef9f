// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/rules"
	"berth/helper/internal/link/sessionlog"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// libexec is where the programs that sshd runs are installed: beside this one
// (PREFIX/sbin/berth), whatever PREFIX is.
func libexec() string {
	self, err := os.Executable()
	if err != nil {
		return paths.Guest
	}
	return filepath.Join(filepath.Dir(filepath.Dir(self)), "libexec", "berth")
}

// sourcesVariable names a directory of the host's that holds guest, lifeline,
// names and serve, as the engine sees them. It is for development: in a lab they
// are mounted at their places in a mount namespace that is not the engine's, so
// the paths that berth itself uses would lead the engine to the real host's. berth
// is root's own command, so root's environment may say so; no login reads it.
const sourcesVariable = "BERTH_SOURCES"

// sources returns what the engine is told to mount for berth itself.
func sources() (policy.Sources, error) {
	dir := os.Getenv(sourcesVariable)
	if dir == "" {
		s := policy.Default().Sources
		s.Guest = filepath.Join(libexec(), "guest")
		return s, nil
	}
	if !filepath.IsAbs(dir) {
		return policy.Sources{}, fmt.Errorf("%s must be an absolute path", sourcesVariable)
	}
	under := func(name string) string { return filepath.Join(dir, name) }
	return policy.Sources{Guest: under("guest"), Lifeline: under("lifeline"), Serve: under("serve"), Names: under("names")}, nil
}

// load reads the configuration, and adds what no key says.
func load(config string) (policy.Policy, error) {
	p, err := policy.Load(config)
	if err == nil {
		p.Sources, err = sources()
	}
	return p, err
}

// prepare makes what a login needs on the host beside the container: the
// directories that the container shares, the server's rules, and the link to the
// engine's socket. It returns what the administrator should know although
// nothing failed.
func prepare(p policy.Policy, configDir string) (notes []note, err error) {
	var socket unix.Stat_t
	if err := unix.Stat(p.Engine.Socket, &socket); err != nil {
		return nil, fmt.Errorf("engine.socket: %s: %w", p.Engine.Socket, err)
	}
	if p.Transport != policy.Direct {
		if err := lifelines(policy.LifelineDir, int(socket.Gid)); err != nil {
			return nil, err
		}
		if err := link(p.Engine.Socket, filepath.Join(configDir, "engine.sock")); err != nil {
			return nil, err
		}
	}
	if err := served(p, socket.Gid); err != nil {
		return nil, err
	}
	if err := sessionlog.Prepare(); err != nil {
		return nil, err
	}
	for _, value := range p.Renamed {
		notes = append(notes, note{text: "berth.toml: " + value})
	}
	return append(notes, programs(p.Transport, socket)...), nil
}

// note is what an administrator should know although nothing failed.
type note struct {
	text   string
	closed bool // nobody can log in
}

// programs returns what is wrong with the programs that sshd runs.
func programs(transport string, socket unix.Stat_t) (notes []note) {
	add := func(closed bool, format string, args ...any) {
		notes = append(notes, note{fmt.Sprintf(format, args...), closed})
	}
	sessionPath := filepath.Join(libexec(), "berth-session")
	execPath := sessionPath + "-exec"
	const special = unix.S_ISUID | unix.S_ISGID
	var st unix.Stat_t
	switch err := unix.Stat(sessionPath, &st); {
	case err != nil:
		add(true, "%s: %v: nobody can log in", sessionPath, err)
	case st.Uid != 0 || st.Mode&(special|0o022) != 0:
		add(true, "%s must be root's, writable by nobody else, with no special bit", sessionPath)
	}
	err := unix.Stat(execPath, &st)
	right := err == nil && st.Gid == socket.Gid && st.Mode&special == unix.S_ISGID && st.Uid == 0
	switch {
	case transport == policy.Direct && err == nil && st.Mode&special != 0:
		add(false, "%s has a special bit that transport direct has no use for: remove it", execPath)
	case transport == policy.Exec && !right:
		add(true, "%s must be root's and setgid to gid %d, which owns the engine's socket: nobody can log in", execPath, socket.Gid)
	case transport == policy.Auto && err == nil && !right:
		add(false, "%s must be root's and setgid to gid %d, which owns the engine's socket: without it no login starts a stopped container", execPath, socket.Gid)
	}
	return notes
}

// served makes the directories that the container's first process and the PAM
// module share with the host, and the rules that sessions go by.
func served(p policy.Policy, engineGroup uint32) error {
	for _, dir := range []string{policy.ServeDir, policy.NamesDir} {
		// Everybody may look; root alone changes anything, here and above.
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = errors.Join(os.Chown(dir, 0, 0), os.Chmod(dir, 0o755))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	r := rules.Rules{
		UIDMin: p.Users.UIDMin, UIDMax: p.Users.UIDMax, Limit: int(p.Session.Limit), Linger: p.Session.Linger,
		Shell: p.Session.Shell, Processes: uint64(p.Container.UserProcesses), Held: []uint32{engineGroup},
	}
	path := filepath.Join(policy.NamesDir, rules.File)
	next := path + ".new"
	_ = os.Remove(next)
	err := os.WriteFile(next, []byte(strings.Join(r.Words(), "\n")+"\n"), 0o644)
	if err == nil {
		err = errors.Join(os.Chmod(next, 0o644), os.Rename(next, path))
	}
	if err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	return nil
}

// lifelines makes the directory that root and the engine's group alone enter,
// and takes dead sockets out of it.
func lifelines(dir string, group int) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("lifelines: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("lifelines: %w", err)
	}
	// Of its parents only root may change anything; the mode is set last.
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
		if path := filepath.Join(dir, entry.Name()); entry.Type()&fs.ModeSocket != 0 && dead(path) {
			_ = os.Remove(path)
		}
	}
	return nil
}

// dead reports whether nobody listens on the socket any more. A session that
// waits for its guest would be disturbed by a connection, but not ended: it
// takes container root's, and root's, for the guest. So only the kernel's own
// word counts, which a datagram socket gets without connecting.
func dead(path string) bool {
	conn, err := net.Dial("unixgram", path)
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// link makes path lead to the engine's socket, atomically.
func link(socket, path string) error {
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
