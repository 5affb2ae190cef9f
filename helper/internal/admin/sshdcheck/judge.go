// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// problems collects the accounts that have each fault.
type problems struct {
	order    []fault
	accounts map[fault][]string
	profiles map[fault][]string // of these accounts
}

func (p *problems) add(f fault, q *question) {
	name := q.displayName()
	if p.accounts == nil {
		p.accounts, p.profiles = map[fault][]string{}, map[fault][]string{}
	}
	if _, found := p.accounts[f]; !found {
		p.order = append(p.order, f)
	}
	if !slices.Contains(p.accounts[f], name) {
		p.accounts[f] = append(p.accounts[f], name)
	}
	if !slices.Contains(p.profiles[f], q.policy.Profile) {
		p.profiles[f] = append(p.profiles[f], q.policy.Profile)
	}
}

// displayName is how a message names an account. One that is made up stands for its group.
func (q *question) displayName() string {
	switch {
	case q.probe && len(q.groups) > 1:
		return "members of both " + strings.Join(q.groups, " and ")
	case q.probe:
		return "members of " + q.groups[0]
	}
	return q.name
}

// names leaves out those who are made up where accounts have the same fault.
func (p *problems) names(f fault) string {
	names := slices.DeleteFunc(slices.Clone(p.accounts[f]), func(n string) bool { return strings.HasPrefix(n, "members of ") })
	if len(names) == 0 {
		names = p.accounts[f]
	}
	return summarize(names)
}

func (r *Report) problem(effect, evidence, remedy string) {
	r.Problems = append(r.Problems, Problem{Effect: effect, Evidence: evidence, Remedy: remedy})
}

func (h Host) judgeSSHD(r *Report, questions []*question, c conf) {
	add := r.problem
	var userProblems, adminProblems problems
	pam := true
	r.NoForwards = true
	for _, q := range questions {
		for _, e := range q.answers {
			pam = pam && e.first("usepam") == "yes"
			if q.confine {
				faults := h.confinementFaults(q.account, q.policy, e)
				_, less := forwardFaults(q.policy, e)
				for _, f := range append(faults, less...) {
					f.needsGroup = f.needsGroup || f.minor && !q.isMember([]string{Group})
					userProblems.add(f, q)
				}
				local, remote := forwardsPorts(e)
				r.NoForwards = r.NoForwards && !local && !remote
			} else {
				for _, f := range h.adminFaults(e) {
					adminProblems.add(f, q)
				}
			}
		}
	}
	for _, f := range userProblems.order {
		r.Problems = append(r.Problems, Problem{Effect: "confined users " + f.effect,
			Evidence: "sshd -T, for " + userProblems.names(f) + ": " + f.evidence, Remedy: h.remedy(f, c),
			Forwards: f.forwards, Profiles: userProblems.profiles[f], Minor: f.minor})
	}
	for _, f := range adminProblems.order {
		remedy := "take them out of group " + Group + ", or leave them out of the Match line: Match Group " + Group + ",!" + adminGroup
		add("administrators "+f.effect, "sshd -T, for "+adminProblems.names(f)+": "+f.evidence, remedy)
	}
	if !pam {
		add("confined users get no home, and no names or limits", "sshd -T: UsePAM is no", "in "+h.Config+": UsePAM yes")
	}
}

// remedy says what to do about a value that is not in force. Mostly the drop-in has it, and
// sshd does not read the drop-in, or finds another value first.
func (h Host) remedy(f fault, c conf) string {
	if f.needsGroup {
		return "put them into group " + Group + " as well (gpasswd -a NAME " + Group +
			"): the login shell alone does not stop what sshd does by itself"
	}
	forcesSession := func(b *block) bool { return filepath.Base(b.forceCommand) == program }
	if !c.files[h.DropIn] && !slices.ContainsFunc(c.blocks, forcesSession) {
		if _, err := os.Lstat(h.DropIn); err == nil {
			return h.Config + " does not read " + h.DropIn + ". Make this its first line: Include " + filepath.Dir(h.DropIn) + "/*.conf"
		}
		return h.DropIn + " is missing: " + h.installer() + " puts it in place"
	}
	if f.forwards && h.isOutdated() {
		return "run berth sshd-config --install: it writes what berth.toml says into " + h.DropIn
	}
	if f.key == "permituserenvironment" {
		for _, l := range c.lines {
			if l.key == f.key {
				return fmt.Sprintf("%s:%d has %s %s: remove it", l.file, l.number, keyword(f), l.value)
			}
		}
	}
	if l, found := c.blame(f.key, h.DropIn); found {
		return fmt.Sprintf("%s:%d says %q, in the Match of line %d. Remove it, or have sshd read %s before it: "+
			"the first value counts", l.file, l.number,
			keyword(f)+" "+l.value, l.block.number, h.DropIn)
	}
	return "in the Match block of " + h.DropIn + ": " + f.line
}

// isOutdated reports whether the drop-in is not what berth.toml says.
func (h Host) isOutdated() bool {
	text, err := os.ReadFile(h.DropIn)
	return err != nil || string(text) != h.Wanted
}

func keyword(f fault) string {
	name, _, _ := strings.Cut(f.line, " ")
	return name
}

func (h Host) judgeStack(r *Report, questions []*question, service string) {
	add := r.problem
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
	var systemd, variables, withoutHome, withoutContainer, notLast, strayForwards problems
	for _, q := range questions {
		if !q.confine {
			continue
		}
		var home, container, after *entry
		for _, e := range h.reach(session, q.account, true) {
			switch {
			case serves(e, q.account) && slices.Contains(e.args, "container"):
				container, after = &e, nil
			case container != nil && e.module != "" && e.module != "pam_selinux.so":
				after = &e
			case serves(e, q.account):
				home = &e
			}
		}
		if home == nil {
			withoutHome.add(fault{}, q)
		}
		switch {
		case container == nil:
			withoutContainer.add(fault{}, q)
		case after != nil:
			notLast.add(fault{evidence: fmt.Sprintf("%s, %s, comes after %s", after, after.module, container)}, q)
		}
		if q.policy.ForwardsPorts() && (container == nil || after != nil) {
			strayForwards.add(fault{}, q)
		}
		// berth-session as the login shell reads no file of the home.
		shell := h.isSession(q.shell) && !q.isMember([]string{Group})
		for _, e := range slices.Concat(h.reach(auth, q.account, false), h.reach(session, q.account, false)) {
			switch {
			case e.module == "pam_systemd.so":
				systemd.add(fault{evidence: e.String()}, q)
			case e.module == "pam_env.so" && slices.Contains(e.args, "user_readenv=1") && !shell:
				variables.add(fault{evidence: e.String()}, q)
			}
		}
	}
	for _, f := range withoutHome.order {
		add("confined users get no home and no names", file+", for "+withoutHome.names(f)+": its session lines do not come to pam_berth.so",
			"behind common-session-noninteractive: session required pam_berth.so; "+h.installer()+" does it")
	}
	for _, f := range withoutContainer.order {
		add("confined users' containers are not made ready, and end while they are connected",
			file+", for "+withoutContainer.names(f)+": its session lines do not come to a line with pam_berth.so container",
			"behind all session lines but pam_selinux.so: session required pam_berth.so container, for these users alone; "+
				h.installer()+" does it")
	}
	for _, f := range notLast.order {
		add("confined users' sessions are not complete when their container is made ready", f.evidence+", for "+notLast.names(f),
			"let nothing but pam_selinux.so stand behind the line with pam_berth.so container")
	}
	for _, f := range strayForwards.order {
		r.Problems = append(r.Problems, Problem{
			Effect:   "confined users who may forward ports get no session, and their forwards lead nowhere",
			Evidence: file + ", for " + strayForwards.names(f) + ": its last session line is not pam_berth.so container",
			Remedy:   "make session required pam_berth.so container the last session line but for pam_selinux.so; " + h.installer() + " does it",
			Forwards: true, NoLogins: true, Profiles: strayForwards.profiles[f]})
	}
	if len(withoutHome.order)+len(withoutContainer.order) == 0 && !h.module("pam_berth.so") && len(questions) > 0 {
		add("confined users get no session", file+" names pam_berth.so, which is not installed", "make install")
	}
	for _, f := range systemd.order {
		add("confined users have what they write into ~/.config/systemd/user run on this host",
			f.evidence+", for "+systemd.names(f)+": pam_systemd.so starts a service manager",
			"include common-session-noninteractive instead of common-session, and let pam_systemd.so stand behind "+
				"berth's three pam_succeed_if lines alone; "+h.installer()+" does it")
	}
	for _, f := range variables.order {
		add("confined users set any variable of the shell that runs berth-session on this host, by ~/.pam_environment",
			f.evidence+", for "+variables.names(f)+": pam_env.so has user_readenv=1",
			"take user_readenv=1 out of that line; "+h.installer()+" does it")
	}
}

// serves reports whether a line of the session's is berth's and does something for the account.
func serves(e entry, a account) bool {
	of := true
	for _, arg := range e.args {
		if names, given := strings.CutPrefix(arg, "group="); given {
			of = slices.ContainsFunc(strings.Split(names, ","), func(name string) bool { return slices.Contains(a.groups, name) })
		}
	}
	return e.module == "pam_berth.so" && of
}
