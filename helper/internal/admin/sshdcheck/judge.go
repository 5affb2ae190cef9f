// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// problems collects what is wrong, one for each fault, whoever has it.
type problems struct {
	order []fault
	whose map[fault][]string
}

func (p *problems) add(f fault, name string) {
	if p.whose == nil {
		p.whose = map[fault][]string{}
	}
	if _, found := p.whose[f]; !found {
		p.order = append(p.order, f)
	}
	if !slices.Contains(p.whose[f], name) {
		p.whose[f] = append(p.whose[f], name)
	}
}

// as is how a message names an account. One that is made up stands for its group.
func (q *question) as() string {
	switch {
	case q.probe && len(q.groups) > 1:
		return "members of both " + strings.Join(q.groups, " and ")
	case q.probe:
		return "members of " + q.groups[0]
	}
	return q.name
}

// shown leaves out those who are made up where accounts have the same fault.
func (p *problems) shown(f fault) string {
	names := slices.DeleteFunc(slices.Clone(p.whose[f]), func(n string) bool { return strings.HasPrefix(n, "members of ") })
	if len(names) == 0 {
		names = p.whose[f]
	}
	return few(names)
}

func (r *Report) problem(gets, says, mend string) {
	r.Problems = append(r.Problems, Problem{Gets: gets, Says: says, Mend: mend})
}

func (h Host) judgeSSHD(r *Report, questions []*question, c conf) {
	add := r.problem
	var wrong, wholes problems
	pam := true
	for _, q := range questions {
		for _, e := range q.answers {
			pam = pam && e.one("usepam") == "yes"
			if q.confine {
				for _, f := range h.confined(q.account, e) {
					wrong.add(f, q.as())
				}
			} else {
				for _, f := range h.whole(e) {
					wholes.add(f, q.as())
				}
			}
		}
	}
	for _, f := range wrong.order {
		add("confined users "+f.gets, "sshd -T, for "+wrong.shown(f)+": "+f.says, h.mend(f, c))
	}
	for _, f := range wholes.order {
		mend := "take them out of group " + Group + ", or leave them out of the Match line: Match Group " + Group + ",!" + adminGroup
		add("administrators "+f.gets, "sshd -T, for "+wholes.shown(f)+": "+f.says, mend)
	}
	if !pam {
		add("confined users get no home, and no names or limits", "sshd -T: UsePAM is no", "in "+h.Config+": UsePAM yes")
	}
}

// mend says what to do about a value that is not in force: mostly it is there,
// and something keeps sshd from reading it or reads first.
func (h Host) mend(f fault, c conf) string {
	if f.join {
		return "put them into group " + Group + " as well (gpasswd -a NAME " + Group +
			"): the login shell alone does not stop what sshd does by itself"
	}
	forces := func(b *block) bool { return filepath.Base(b.forces) == program }
	if !c.read[h.DropIn] && !slices.ContainsFunc(c.blocks, forces) {
		if _, err := os.Lstat(h.DropIn); err == nil {
			return h.Config + " does not read " + h.DropIn + ". Make this its first line: Include " + filepath.Dir(h.DropIn) + "/*.conf"
		}
		return h.DropIn + " is missing: " + h.setUp() + " puts it in place"
	}
	if f.key == "permituserenvironment" {
		for _, l := range c.lines {
			if l.key == f.key {
				return fmt.Sprintf("%s:%d has %s %s: remove it", l.file, l.number, keyword(f), l.value)
			}
		}
	}
	if l, found := c.blame(f.key, h.DropIn); found {
		return fmt.Sprintf("%s:%d says %q, in the Match of line %d. Remove it, or have sshd read %s before it: the first value counts", l.file, l.number,
			keyword(f)+" "+l.value, l.block.number, h.DropIn)
	}
	return "in the Match block of " + h.DropIn + ": " + f.line
}

func keyword(f fault) string {
	name, _, _ := strings.Cut(f.line, " ")
	return name
}

func (h Host) judgeStack(r *Report, questions []*question, service string) {
	add := func(gets, says, mend string) {
		r.Problems = append(r.Problems, Problem{Gets: gets, Says: says, Mend: mend})
	}
	file := filepath.Join(h.PAM[0], service)
	session, err := h.readStack(service, "session")
	var auth []entry
	if err == nil {
		auth, err = h.readStack(service, "auth")
	}
	if err != nil {
		add("nobody knows what users get", err.Error(), "mend "+file)
		return
	}
	var systemd, variables, without problems
	for _, q := range questions {
		if !q.confine {
			continue
		}
		has := false
		for _, e := range h.reach(session, q.account, true) {
			has = has || e.module == "pam_berth.so"
		}
		if !has {
			without.add(fault{}, q.as())
		}
		// A program that is no shell obeys neither file of the home.
		shell := h.isSession(q.shell) && !q.in([]string{Group})
		for _, e := range slices.Concat(h.reach(auth, q.account, false), h.reach(session, q.account, false)) {
			switch {
			case e.module == "pam_systemd.so":
				systemd.add(fault{says: e.String()}, q.as())
			case e.module == "pam_env.so" && slices.Contains(e.args, "user_readenv=1") && !shell:
				variables.add(fault{says: e.String()}, q.as())
			}
		}
	}
	for _, f := range without.order {
		add("confined users get no home and no names", file+", for "+without.shown(f)+": its session lines do not come to pam_berth.so",
			"behind common-session-noninteractive: session required pam_berth.so; "+h.setUp()+" does it")
	}
	if len(without.order) == 0 && !h.module("pam_berth.so") && len(questions) > 0 {
		add("confined users get no session", file+" names pam_berth.so, which is not installed", "make install")
	}
	for _, f := range systemd.order {
		add("confined users have what they write into ~/.config/systemd/user run on this host",
			f.says+", for "+systemd.shown(f)+": pam_systemd.so starts a service manager",
			"include common-session-noninteractive instead of common-session, and let pam_systemd.so stand behind "+
				"berth's three pam_succeed_if lines alone; "+h.setUp()+" does it")
	}
	for _, f := range variables.order {
		add("confined users set any variable of the shell that runs berth-session on this host, by ~/.pam_environment",
			f.says+", for "+variables.shown(f)+": pam_env.so has user_readenv=1", "take user_readenv=1 out of that line; "+h.setUp()+" does it")
	}
}
