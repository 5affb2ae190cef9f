// SPDX-License-Identifier: Apache-2.0

// Package sessions says which sessions are open, and ends them. There is no list of them
// anywhere: the keepers know how many there are and whose, and the processes of the host what
// for.
//
// Process: berth. As: root. What a session is for is the user's own word, as in the log.
package sessions

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/link/sessionlog"
)

// Session is one that is open.
type Session struct {
	ID        string    `json:"id,omitempty"` // as in the log; none: from before an upgrade
	User      string    `json:"user"`
	UID       uint32    `json:"uid"`
	Since     time.Time `json:"since"`
	From      string    `json:"from,omitempty"`
	TTY       string    `json:"tty,omitempty"`
	Command   string    `json:"command,omitempty"` // none: a shell
	Profile   string    `json:"profile"`
	Container string    `json:"container"`
	Transport string    `json:"transport"`

	keeper control.Keeper
	pid    int // of its supervisor, in the container
}

// Container is one that may have sessions.
type Container struct {
	Profile, Name string
	Keeper        control.Keeper
}

// List lists the sessions in containers, the longest first; its error is about those that do not answer. dir is where sessions keep a file each
// (sessionlog.Dir), and name says what the uid's account is called.
func List(containers []Container, dir string, name func(uid uint32) string) ([]Session, error) {
	all := []Session{} // JSON has a list even of none
	var errs error
	for _, c := range containers {
		found, err := c.Keeper.List()
		if errors.Is(err, control.ErrNoKeeper) {
			continue // it has just ended, and all sessions in it
		}
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %w", c.Name, err))
			continue
		}
		files := map[uint32]map[string]int{}
		for _, f := range found {
			s := Session{ID: f.ID, User: name(f.UID), UID: f.UID, Since: f.Since, Profile: c.Profile, Container: c.Name, Transport: f.Transport,
				keeper: c.Keeper, pid: f.PID}
			if files[f.UID] == nil {
				files[f.UID] = sessionlog.Unended(filepath.Join(dir, strconv.FormatUint(uint64(f.UID), 10)))
			}
			if pid := files[f.UID][f.ID]; pid != 0 {
				s.describe(pid)
			}
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b Session) int { return a.Since.Compare(b.Since) })
	return all, errs
}

// maxEnvironment is how much of a process's environment is read, in bytes.
const maxEnvironment = 256 << 10

// describe reads what berth-session, the process pid, was started for.
func (s *Session) describe(pid int) {
	dir := fmt.Sprintf("/proc/%d", pid)
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", s.UID)) {
		return // the name is the user's, and says what it likes
	}
	file, err := os.Open(filepath.Join(dir, "environ"))
	if err != nil {
		return
	}
	defer file.Close()
	text, _ := io.ReadAll(io.LimitReader(file, maxEnvironment))
	for _, entry := range bytes.Split(text, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case "SSH_CONNECTION":
			if words := strings.Fields(value); len(words) == 4 {
				s.From = printable(words[0] + ":" + words[1])
			}
		case "SSH_TTY":
			s.TTY = printable(strings.TrimPrefix(value, "/dev/"))
		case "SSH_ORIGINAL_COMMAND":
			s.Command = printable(value)
		}
	}
}

// printable makes a user's text safe to show.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Matches reports whether what names the session: its id, the id of its connection, or its user.
func (s Session) Matches(what string) bool {
	return what != "" && (s.User == what || s.ID == what || len(what) == 8 && strings.HasPrefix(s.ID, what+"-"))
}

// End ends the session; the user reads words last.
func (s Session) End(words string) error { return s.keeper.End(s.pid, words) }

// maxShown is how much of a command is shown in a table.
const maxShown = 40

// Write prints sessions for a person.
func Write(w io.Writer, all []Session) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "USER\tSINCE\tFROM\tTTY\tPROFILE\tCONTAINER\tID\tCOMMAND")
	for _, s := range all {
		command := cmp.Or(s.Command, "-")
		if len(command) > maxShown {
			command = strings.ToValidUTF8(command[:maxShown], "") + "..."
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.User, s.Since.Format(time.DateTime), cmp.Or(s.From, "-"), cmp.Or(s.TTY, "-"),
			s.Profile, s.Container, cmp.Or(s.ID, "-"), command)
	}
	table.Flush()
}
