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
}

func (p *problems) add(f fault, name string) {
	if p.accounts == nil {
		p.accounts = map[fault][]string{}
	}
	if _, found := p.accounts[f]; !found {
		p.order = append(p.order, f)
	}
	if !slices.Contains(p.accounts[f], name) {
		p.accounts[f] = append(p.accounts[f], name)
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
	for _, q := range questions {
		for _, e := range q.answers {
			pam = pam && e.first("usepam") == "yes"
			if q.confine {
				for _, f := range h.confinementFaults(q.account, e) {
					userProblems.add(f, q.displayName())
				}
			} else {
				for _, f := range h.adminFaults(e) {
					adminProblems.add(f, q.displayName())
				}
			}
		}
	}
	for _, f := range userProblems.order {
		add("confined users "+f.effect, "sshd -T, for "+userProblems.names(f)+": "+f.evidence, h.remedy(f, c))
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
	var systemd, variables, withoutHome, withoutContainer, notLast problems
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
			withoutHome.add(fault{}, q.displayName())
		}
		switch {
		case container == nil:
			withoutContainer.add(fault{}, q.displayName())
		case after != nil:
			notLast.add(fault{evidence: fmt.Sprintf("%s, %s, comes after %s", after, after.module, container)}, q.displayName())
		}
		// berth-session as the login shell reads no file of the home.
		shell := h.isSession(q.shell) && !q.isMember([]string{Group})
		for _, e := range slices.Concat(h.reach(auth, q.account, false), h.reach(session, q.account, false)) {
			switch {
			case e.module == "pam_systemd.so":
				systemd.add(fault{evidence: e.String()}, q.displayName())
			case e.module == "pam_env.so" && slices.Contains(e.args, "user_readenv=1") && !shell:
				variables.add(fault{evidence: e.String()}, q.displayName())
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
