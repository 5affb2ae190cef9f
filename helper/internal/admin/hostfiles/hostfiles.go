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
	"strings"

	"berth/helper/internal/link/rules"
	"berth/helper/internal/link/sessionlog"
	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// Dirs are the places.
type Dirs struct {
	Programs   string // what sshd runs
	EngineLink string // leads to the engine's socket
	Serve      string // as policy.ServeDir
	Names      string // as policy.NamesDir
	Lifeline   string // as policy.LifelineDir
	Sessions   string // as sessionlog.Dir
}

// This is the host that the program runs on, with its configuration in configDir.
func This(configDir string) Dirs {
	return Dirs{
		Programs:   programsDir(),
		EngineLink: filepath.Join(configDir, filepath.Base(policy.EngineLink)),
		Serve:      policy.ServeDir,
		Names:      policy.NamesDir,
		Lifeline:   policy.LifelineDir,
		Sessions:   sessionlog.Dir,
	}
}

// Prepare makes all of it as the policy demands. The notes are for the administrator.
func (d Dirs) Prepare(p policy.Policy) (notes []Note, err error) {
	group, err := EngineGroup(p.Engine.Socket)
	if err != nil {
		return nil, err
	}
	if p.Transport != policy.Direct {
		if err := makeLifelineDir(d.Lifeline, int(group)); err != nil {
			return nil, err
		}
		if err := linkEngine(p.Engine.Socket, d.EngineLink); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{d.Serve, d.Names} {
		if err := makeSharedDir(dir); err != nil {
			return nil, err
		}
	}
	if err := writeRules(Rules(p, group), filepath.Join(d.Serve, rules.File)); err != nil {
		return nil, err
	}
	if err := sessionlog.Prepare(d.Sessions); err != nil {
		return nil, err
	}
	for _, value := range p.Renamed {
		notes = append(notes, Note{Text: "berth.toml: " + value})
	}
	return append(notes, d.checkPrograms(p.Transport, group)...), nil
}

// Rules returns the rules that follow from the policy and the group of the engine's socket.
func Rules(p policy.Policy, engineGroup uint32) rules.Rules {
	linger := 0
	if p.Session.Linger {
		linger = rules.Forever
	}
	return rules.Rules{
		UIDMin:    p.Users.UIDMin,
		UIDMax:    p.Users.UIDMax,
		Limit:     int(p.Session.Limit),
		Linger:    linger,
		Shell:     p.Session.Shell,
		Processes: uint64(p.Container.UserProcesses),
		Held:      []uint32{engineGroup},
		Spares:    4,
	}
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

// writeRules replaces the rules at once: a session reads the old ones or the new.
func writeRules(r rules.Rules, path string) error {
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
