// SPDX-License-Identifier: Apache-2.0

// Package sshdcheck judges whether this host's sshd and its PAM stack confine
// the users that they are meant to confine, and nobody else. It asks the real
// sshd (`sshd -T -C`) for each of them, and reads the stack as libpam does. It
// says what such users get instead, which line is to blame, and which mends it.
//
// Process: berth. As: root.
package sshdcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"berth/helper/internal/policy"
)

const (
	// Group is the drop-in's: its members are confined.
	Group      = "berth"
	adminGroup = "admins"
	// Match is what the Match line of the drop-in says of groups.
	Match   = Group + ",!" + adminGroup
	program = "berth-session"
)

// Bounds of what is asked: an account costs some 15 ms for each connection.
const (
	maxAccounts    = 500
	maxConnections = 8
	maxParallel    = 4
)

// Test has sshd itself judge its configuration.
func (h Host) Test(ctx context.Context) error {
	s, err := newSSHD(h.Config)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, s.path, "-t", "-f", h.Config).CombinedOutput(); err != nil {
		return fmt.Errorf("sshd -t: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Host is where to look.
type Host struct {
	Session string   // berth-session, as it is installed
	Config  string   // sshd_config
	DropIn  string   // berth's part of it
	PAM     []string // directories of services
	Modules []string // patterns of the directories of modules
	// Policies say what users may forward.
	Policies policy.Config
	// Wanted is what the drop-in should be.
	Wanted string
}

// This is the host that the program runs on.
func This(session string) Host {
	return Host{
		Session: session,
		Config:  "/etc/ssh/sshd_config",
		DropIn:  "/etc/ssh/sshd_config.d/50-berth.conf",
		PAM:     []string{"/etc/pam.d", "/usr/lib/pam.d"},
		Modules: []string{"/lib/security", "/lib/*/security", "/usr/lib/security", "/usr/lib/*/security",
			"/lib64/security", "/usr/lib64/security"},
	}
}

// installer is the program that edits sshd's and PAM's files.
func (h Host) installer() string { return filepath.Join(filepath.Dir(h.Session), "install-sshd") }

// Problem is what keeps the host from confining, or a note.
type Problem struct {
	Effect   string   // what users get, and which of them
	Evidence string   // what sshd or the stack says
	Remedy   string   // what to do
	Forwards bool     // it is about forwarding
	Profiles []string // whose users it concerns; only where Forwards is set
	Minor    bool     // users are confined all the same
	NoLogins bool     // users get no session
}

// Report is what was found.
type Report struct {
	Problems []Problem
	Notes    []string
	Confined []string // users who are to be confined
	Admins   []string // root and administrators, as far as they were asked about
	// NoForwards: no confined user may forward ports, and that is certain.
	NoForwards bool
}

// Faults reports whether there is a problem that is not minor.
func (r Report) Faults() bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Minor })
}

// Scope is what is judged.
type Scope int

const (
	All    Scope = iota
	Stack        // the PAM stack alone
	Sample       // one user of each profile
)

// isSession reports whether command is this installation's berth-session.
func (h Host) isSession(command string) bool {
	if command == h.Session {
		return true
	}
	mine, err1 := os.Stat(h.Session)
	its, err2 := os.Stat(command)
	return err1 == nil && err2 == nil && os.SameFile(mine, its)
}

// question is an account that sshd is to be asked about.
type question struct {
	account
	confine bool // the account is to be confined; else it is to have the whole host
	group   string
	policy  policy.Policy
	answers []effectiveConfig
}

// gather returns the accounts to ask about: members of the group, accounts whose login
// shell is berth-session, root and administrators.
func (h Host) gather(p people, t targets) (questions []*question) {
	for _, u := range p.users {
		q := &question{account: u, group: u.firstGroup(t.groups), policy: h.Policies.For(u.name, u.groups)}
		switch admin := u.isMember(t.admins); {
		case u.uid == "0":
		case h.isSession(u.shell), !admin && q.group != "", !admin && matchesAny(u.name, t.users):
			q.confine = true
		case !admin:
			continue // not berth's
		}
		questions = append(questions, q)
	}
	return questions
}

// ask asks sshd each question, a few at a time. Accounts that cannot be made up get no
// answer.
func (s *sshd) ask(ctx context.Context, questions []*question, connections []map[string]string) error {
	var wg sync.WaitGroup
	errs := make([]error, len(questions))
	slots := make(chan struct{}, maxParallel)
	for i, q := range questions {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for _, conn := range connections {
				e, err := s.query(ctx, q.account, conn)
				if err != nil {
					errs[i] = err
					return
				}
				q.answers = append(q.answers, e)
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if errors.Is(err, errNoProbe) {
			questions[i].answers = nil
			continue
		}
		if err != nil {
			return err // sshd says the same of its configuration to everybody
		}
	}
	return nil
}

// sample returns one account of each profile that is to be confined.
func sample(questions []*question) (some []*question) {
	for _, q := range questions {
		has := func(other *question) bool { return other.policy.Profile == q.policy.Profile }
		if q.confine && !slices.ContainsFunc(some, has) {
			some = append(some, q)
		}
	}
	return some
}

// Check judges sshd and the PAM stack.
func (h Host) Check(ctx context.Context, scope Scope) (Report, error) {
	c := readConf(h.Config)
	t := h.intendedConf(c).targets()
	p, err := lookUp(ctx, t)
	if err != nil {
		return Report{}, err
	}
	var r Report
	questions := h.gather(p, t)
	r.addUsers(questions)
	probes, err := newProbes(p, t, h.Policies.Profiles)
	if err != nil {
		return r, err
	}
	defer probes.close()
	probeQuestions := h.gather(people{users: probes.accounts}, t)
	if scope == Sample {
		questions, probeQuestions = sample(append(questions, probeQuestions...)), nil
	}
	if scope == Stack {
		h.judgeStack(&r, append(questions, probeQuestions...), "sshd")
		return r, nil
	}
	s, err := newSSHD(h.Config)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		r.Notes = append(r.Notes, "there is no sshd on this host, so nothing was judged")
		r.NoForwards = true
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if !h.confinesAnybody(c, r) {
		r.Notes = append(r.Notes, "nobody is confined yet: no account is in group "+Group+
			", and sshd's configuration does not name berth-session; "+h.installer()+" sets sshd and PAM up")
		r.NoForwards = true
		return r, nil
	}
	s.probes = probes
	many := len(questions) > maxAccounts
	if many {
		r.Notes = append(r.Notes, fmt.Sprintf("sshd was asked about %d of %d accounts", maxAccounts, len(questions)))
		some := sample(questions)
		rest := slices.DeleteFunc(questions, func(q *question) bool { return slices.Contains(some, q) })
		questions = append(some, rest...)[:maxAccounts]
	}
	questions = append(questions, probeQuestions...)
	if err := s.ask(ctx, questions, c.connections()); err != nil {
		r.Problems = append(r.Problems, Problem{Effect: "nobody knows what users get", Evidence: err.Error(),
			Remedy: "mend what sshd -t complains of"})
		return r, nil
	}
	if slices.ContainsFunc(questions, func(q *question) bool { return q.probe && q.answers == nil }) && len(r.Confined) == 0 {
		r.Notes = append(r.Notes, "group "+Group+" has no member, and "+errNoProbe.Error()+": judged when it has one")
	}
	h.judgeSSHD(&r, questions, c)
	r.NoForwards = r.NoForwards && scope == All && !many
	service := "sshd"
	for _, q := range questions {
		for _, e := range q.answers {
			if name := e.first("pamservicename"); name != "" {
				service = name
			}
		}
	}
	h.judgeStack(&r, questions, service)
	return r, nil
}

// confinesAnybody reports whether this host is to confine anybody already.
func (h Host) confinesAnybody(c conf, r Report) bool {
	if len(r.Confined) > 0 {
		return true
	}
	if _, err := os.Lstat(h.DropIn); err == nil {
		return true
	}
	return slices.ContainsFunc(c.lines, func(l line) bool {
		return l.key == "forcecommand" && filepath.Base(l.value) == program
	})
}

// ConfinedUsers returns the users that sshd or their login shell confines now, whatever
// the administrator intends.
func (h Host) ConfinedUsers(ctx context.Context) ([]string, error) {
	c := readConf(h.Config)
	p, err := lookUp(ctx, h.intendedConf(c).targets())
	if err != nil {
		return nil, err
	}
	all := make([]*question, 0, len(p.users))
	for _, u := range p.users {
		all = append(all, &question{account: u})
	}
	s, err := newSSHD(h.Config)
	if err == nil {
		err = s.ask(ctx, all, c.connections())
	} else if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		err = nil // no sshd confines anybody
	}
	var names []string
	for _, q := range all {
		now := filepath.Base(q.shell) == program
		for _, e := range q.answers {
			now = now || filepath.Base(e.first("forcecommand")) == program
		}
		if now {
			names = append(names, q.name)
		}
	}
	return names, err
}

func (r *Report) addUsers(questions []*question) {
	for _, q := range questions {
		if q.confine {
			r.Confined = append(r.Confined, q.name)
		} else {
			r.Admins = append(r.Admins, q.name)
		}
	}
}

// summarize lists the first names, and counts the others.
func summarize(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:shown], ", ") + andMore(len(names)-shown)
}
