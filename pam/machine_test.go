// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The password "berth", by perl -e 'print crypt("berth", "\$6\$rounds=1000\$berth\$")'.
const hashed = "$6$rounds=1000$berth$6bVuKy1vjYV4OKllqxg5ilnTcn1ukouJrp59QpT2yh077t7wgPJ2eNeuS6.7SZUDOTS6qpKsmDU7xU3P8s/q6."

// newMachine is a site with this machine's own PAM configuration, into which
// line was put wherever sessions of users are opened, and with a user more: rob,
// who may sudo. What programs write outside of a home is the namespace's own.
// In line our module is called MODULE.
func newMachine(t *testing.T, line string) *site {
	t.Helper()
	s := newSite(t, "")
	s.shell("mkdir " + s.dir + "/cron.d; cp /etc/pam.d/* " + s.dir + "/pam.d/")
	s.stack(line)
	var users, groups strings.Builder
	for file, to := range map[string]*strings.Builder{"/etc/passwd": &users, "/etc/group": &groups} {
		for _, entry := range strings.SplitAfter(s.text(file), "\n") {
			if name, _, _ := strings.Cut(entry, ":"); name != user && name != "rob" {
				to.WriteString(entry)
			}
		}
	}
	s.write("passwd", users.String()+fmt.Sprintf("%s:x:%d:%[2]d::/home/%[1]s:/bin/sh\nrob:x:4713:4713::/:/bin/sh\n", user, uid), 0o644)
	s.write("group", groups.String()+"nina:x:4711:\nrob:x:4713:\n", 0o644)
	s.write("shadow", "root:*:19000::::::\nnina:"+hashed+":19000::::::\nrob:"+hashed+":19000::::::\n", 0o600)
	s.write("sudoers", "Defaults use_pty\nroot ALL=(ALL) NOPASSWD: ALL\nrob ALL=(ALL) NOPASSWD: ALL\n", 0o440)
	s.write("crontab", "# none\n", 0o644)
	s.write("skel/.profile", "echo profile\n", 0o644)
	s.write("seen", seen, 0o755)
	s.files = []string{"shadow", "group", "sudoers", "crontab"}
	return s
}

// stack puts line into the machine's session stacks, behind pam_unix.
func (s *site) stack(line string) {
	s.t.Helper()
	line = strings.ReplaceAll(line, "MODULE", built.module)
	for _, service := range []string{"common-session", "common-session-noninteractive", "runuser"} {
		var text strings.Builder
		for _, l := range strings.SplitAfter(s.text("/etc/pam.d/"+service), "\n") {
			if strings.Contains(l, "pam_berth") || strings.Contains(l, "pam_mkhomedir") {
				continue // this machine has one already
			}
			text.WriteString(l)
			if strings.HasPrefix(l, "session") && strings.Contains(l, "pam_unix.so") {
				text.WriteString("session required " + line + "\n")
			}
		}
		s.write("pam.d/"+service, text.String(), 0o644)
	}
}

// furnish is a shell line for a machine's namespace; top is where the processes
// that are ours begin.
const furnish = `echo $$ >$S/top
mount --bind $S/pam.d /etc/pam.d; mount --bind $S/cron.d /etc/cron.d
for d in /run /var/log /var/mail /var/spool/cron /var/lib/sudo; do mount -t tmpfs -o mode=755 none $d; done
mkdir /run/sshd /run/lock /var/spool/cron/crontabs; touch /run/utmp /var/log/wtmp /var/log/btmp /var/log/lastlog
rob() { setpriv --reuid rob --regid rob --init-groups "$@"; }
`

// seen is what a session runs: it says who it is and where, and what its
// ancestors have besides: children that are dead, or that are workers.
const seen = `#!/bin/sh
echo "in $(id -un) $(pwd)"
read -r top <"$(dirname "$0")/top"
p=$PPID
while [ "$p" -gt 1 ]; do
	for c in $(cat /proc/$p/task/*/children); do
		read -r stat 2>/dev/null </proc/$c/stat || continue
		case $stat in *") Z "* | *"(pam_berth"*) echo "beside: $stat, of $(cat /proc/$p/comm)" ;; esac
	done
	[ "$p" != "$top" ] || exit 0
	read -r stat </proc/$p/stat
	p=${stat##*) ? }
	p=${p%% *}
done
echo "lost the way"
`

// noWorker checks that of the module's programs none runs in the site.
func (s *site) noWorker() {
	s.t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	s.must(err)
	for _, link := range links {
		if exe, _ := os.Readlink(link); exe != built.module {
			continue
		}
		if mounts, _ := os.ReadFile(filepath.Dir(link) + "/mountinfo"); strings.Contains(string(mounts), filepath.Base(s.dir)+"/") {
			s.t.Errorf("a worker is left: %s", link)
		}
	}
}
