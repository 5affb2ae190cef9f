// SPDX-License-Identifier: Apache-2.0

// Package control asks the container's first process, the keeper, about its
// sessions (helper/cmd/berth-init/control.c). The engine has no part in it, and the cost
// does not depend on the processes in the container.
//
// Process: berth. As: root of the host; the keeper answers nobody else.
package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/rootfile"

	"golang.org/x/sys/unix"
)

// ErrNoKeeper says that the container does not run, or that its first process is not
// berth's.
var ErrNoKeeper = errors.New("no container of berth's is running here")

// ErrRemapped says that the container's root is not the host's: every caller would be
// nobody there.
var ErrRemapped = errors.New("the engine has given the container other user ids (userns-remap)")

// Keeper is the keeper of the container that has the host's directory dir.
type Keeper struct{ dir string }

// At returns the keeper that serves dir. Nothing is asked yet.
func At(dir string) Keeper { return Keeper{dir} }

// answerTimeout is for the keeper's answer to one request.
const answerTimeout = 5 * time.Second

// ask sends one request. It returns the lines of the answer, and the keeper's pid on
// this host.
func (k Keeper) ask(format string, args ...any) (lines []string, pid int, err error) {
	path := filepath.Join(k.dir, paths.Control)
	pinned, release, err := rootfile.Pin(path)
	defer release()
	var conn net.Conn
	if err == nil {
		conn, err = net.DialTimeout("unix", pinned, answerTimeout)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return nil, 0, fmt.Errorf("%w: %w", ErrNoKeeper, err)
	case err != nil:
		return nil, 0, fmt.Errorf("keeper: %w", err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, 0, fmt.Errorf("keeper: %w", err)
	}
	var peer *unix.Ucred
	getPeer := func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }
	if cerr := raw.Control(getPeer); cerr != nil || err != nil {
		return nil, 0, fmt.Errorf("keeper: %w", errors.Join(cerr, err))
	}
	if peer.Uid != 0 {
		return nil, 0, fmt.Errorf("%w: %s is uid %d's", ErrRemapped, path, peer.Uid)
	}
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, 0, fmt.Errorf("keeper: %w", err)
	}
	if _, err := fmt.Fprintf(conn, format+"\n", args...); err != nil {
		return nil, 0, fmt.Errorf("keeper: %w", err)
	}
	for scanner := bufio.NewScanner(conn); ; {
		if !scanner.Scan() {
			if err = scanner.Err(); err == nil && len(lines) == 0 {
				err = io.ErrUnexpectedEOF
			}
			break
		}
		lines = append(lines, scanner.Text())
	}
	if err != nil {
		return nil, 0, fmt.Errorf("keeper: %w", err)
	}
	return lines, int(peer.Pid), nil
}

// query is ask, of a keeper that may be ending just now: then it says ErrNoKeeper, or a new one answers.
func (k Keeper) query(format string, args ...any) (lines []string, pid int, err error) {
	const tries = 5
	for range tries {
		lines, pid, err = k.ask(format, args...)
		if !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			break
		}
		time.Sleep(tryAgain)
	}
	return lines, pid, err
}

const tryAgain = 20 * time.Millisecond

// Count is the keeper's answer to count. Pids are the container's, but for PID.
type Count struct {
	PID      int // the keeper's own, on this host
	Sessions int
	Ending   int // sessions that are over, and whose processes are being ended
	Spare    int // supervisors that wait for a session
	Server   int // pids; 0: none runs
	Standby  int
	Spawner  int
	Serving  bool // it offers the socket to this host's users
	OnDemand bool // a server runs, and supervisors wait, only while somebody calls
}

// Count asks how many sessions there are, and who runs.
func (k Keeper) Count() (Count, error) {
	lines, pid, err := k.query("count")
	if err != nil {
		return Count{}, err
	}
	c := Count{PID: pid}
	serving, onDemand := 0, 0
	fields := map[string]*int{"sessions": &c.Sessions, "ending": &c.Ending, "spare": &c.Spare, "server": &c.Server, "standby": &c.Standby,
		"spawner": &c.Spawner, "serving": &serving, "on_demand": &onDemand}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		if field := fields[key]; field != nil {
			if *field, err = strconv.Atoi(value); err != nil {
				return Count{}, fmt.Errorf("keeper: %q: %w", line, err)
			}
		}
	}
	c.Serving, c.OnDemand = serving == 1, onDemand == 1
	return c, nil
}

// Session is an open session.
type Session struct {
	PID       int // of its supervisor, in the container
	UID       uint32
	Since     time.Time
	Transport string // "direct" or "exec"
	// ID is its id in the log, by the word of the user's own end; "": it has said none.
	ID string
}

// List asks for the open sessions.
func (k Keeper) List() ([]Session, error) {
	var all []Session
	for from := 0; ; {
		lines, _, err := k.query("list %d", from)
		if err != nil {
			return nil, err
		}
		last := lines[len(lines)-1]
		for _, line := range lines[:len(lines)-1] {
			var s Session
			var since int64
			// A keeper of before has no id; a later one may say more behind it.
			n, err := fmt.Sscanf(line, "%d %d %d %s %s", &s.PID, &s.UID, &since, &s.Transport, &s.ID)
			if n < 4 {
				return nil, fmt.Errorf("keeper: %q: %w", line, err)
			}
			if s.ID == "-" {
				s.ID = ""
			}
			s.Since = time.Unix(since, 0)
			all = append(all, s)
		}
		if last == "end" {
			return all, nil
		}
		if _, err := fmt.Sscanf(last, "more %d", &from); err != nil {
			return nil, fmt.Errorf("keeper: %q: %w", last, err)
		}
	}
}

// MaxWords is how long the words for a user may be, in bytes. They are one line, without
// control characters.
const MaxWords = 200

// End ends the session whose supervisor is pid. The user reads the words as the last line on
// the terminal, or the keeper's own if they are empty.
func (k Keeper) End(pid int, words string) error {
	return k.orderWithWords(strings.TrimSuffix(fmt.Sprintf("end %d %s", pid, words), " "), words)
}

// Tell shows the words on the terminal of each session that has one, now. Sessions that are
// older than this berth do not get them.
func (k Keeper) Tell(words string) error { return k.orderWithWords("tell "+words, words) }

// ErrWords are words that no user gets.
var ErrWords = errors.New("the text for users must be one line of at most 200 bytes, without control characters")

// CheckWords returns ErrWords for words that no user gets, or nil.
func CheckWords(words string) error {
	if len(words) > MaxWords || strings.ContainsFunc(words, unicode.IsControl) || !utf8.ValidString(words) {
		return ErrWords
	}
	return nil
}

func (k Keeper) orderWithWords(request, words string) error {
	if err := CheckWords(words); err != nil {
		return err
	}
	return k.order("%s", request)
}

// Renew has the keeper start the installed programs with the current rules. The sessions
// go on. It returns when the new server serves, or says why the old one goes on.
func (k Keeper) Renew() error { return k.order("renew") }

func (k Keeper) order(format string, args ...any) error {
	lines, _, err := k.ask(format, args...)
	if err == nil && lines[0] != "ok" {
		err = fmt.Errorf("keeper: %s", lines[0])
	}
	return err
}

// Unsettled reports whether Settle has yet to be called since the container's start.
func (k Keeper) Unsettled() bool {
	_, err := os.Lstat(filepath.Join(k.dir, paths.Unsettled))
	return err == nil
}
