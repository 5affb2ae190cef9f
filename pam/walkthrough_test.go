// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// blanks at the ends of lines, and what a terminal adds to them.
var blanks = regexp.MustCompile(`(?m)[ \t\r]+$`)

// TestWalkthrough types what docs/pam-walkthrough.md says, and compares what
// comes out. In a block "console" a line that begins with "# " is a command, one
// with "> " goes on with it, and all others are its output, to the letter.
func TestWalkthrough(t *testing.T) {
	text, err := os.ReadFile("../docs/pam-walkthrough.md")
	if err != nil {
		t.Fatal(err)
	}
	type step struct{ command, output string }
	var steps []step
	for _, block := range strings.Split(string(text), "\n```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, line := range strings.SplitAfter(block, "\n") {
			command, typed := strings.CutPrefix(line, "# ")
			more, goesOn := strings.CutPrefix(line, "> ")
			switch last := len(steps) - 1; {
			case typed:
				steps = append(steps, step{command: command})
			case goesOn:
				steps[last].command += more
			case line != "":
				steps[last].output += line
			}
		}
	}
	const mark = "\x01\r\n"
	var script strings.Builder
	for _, s := range steps {
		// What was logged is in the journal before it is looked for.
		script.WriteString("printf '\\001\\n'; journalctl --sync\n" + s.command)
	}
	out := strings.Split(runWalkthrough(t, script.String()), mark)
	started, out := out[0], out[1:]
	for i, s := range steps {
		if i == len(out) {
			t.Fatalf("%s: the shell ended before: %s", started, s.command)
		}
		if got := blanks.ReplaceAllString(out[i], ""); got != s.output {
			t.Errorf("# %sprinted\n%sand not\n%s", s.command, got, s.output)
		}
	}
}

// ownDirs are shell functions that put a copy, and an empty directory of the
// site's own, in the place of the host's, in the site's namespace.
const ownDirs = `copied() { for d; do mkdir -p "$S/copy$d"; cp -a "$d/." "$S/copy$d"; mount --bind "$S/copy$d" "$d"; done; }
fresh() { for d; do mkdir -p "$S/new$d"; mount --bind "$S/new$d" "$d"; done; }
`

// runWalkthrough runs commands on a Debian of which all that they change is a copy,
// in a mount namespace, with a journal of its own; the rest is read-only. They
// run in a source tree in which the module is built.
func runWalkthrough(t *testing.T, commands string) string {
	t.Helper()
	s := newSite(t, "")
	s.shell("umask 022; S=" + s.dir + "/src; mkdir -p $S/build $S/pam; cp " + built.module + " $S/build; cp pam-configs-berth $S/pam; cd ..; cp -a Makefile scripts man $S")
	s.write("src/commands", commands, 0o644)
	const host = `set -e; umask 022; S=$1; exec 2>&1 </dev/null
security=$(dirname "$(ls /usr/lib/*/security/pam_unix.so /lib/*/security/pam_unix.so 2>/dev/null | head -n 1)")
` + ownDirs + `copied /etc "$security" /usr/share/pam-configs /var/lib/pam /var/cache/debconf
fresh /home /run /var/log /var/mail /usr/local/sbin /usr/share/man
` + devLog + `ln -sf /run/systemd/journal/dev-log /dev/log
mkdir -p /run/systemd/journal
mount --bind "$S/src" /usr/local/src
mount -o remount,bind,ro /
mount -t tmpfs none /tmp
cd /usr/local/src
# As Debian has it.
rm -rf /etc/skel /etc/berth; mkdir /etc/skel; touch /etc/skel/.bash_logout /etc/skel/.bashrc /etc/skel/.profile
sed -i '/^HOME_MODE/d; s/^UMASK.*/UMASK 022/; s/^UID_M.*//; s/^USERGROUPS_ENAB.*/USERGROUPS_ENAB yes/' /etc/login.defs
sed -i '/pam_berth/d' /etc/pam.d/*
sed -i -E '/^[^:]*:[^:]*:[0-9]{4}:/d' /etc/passwd /etc/group
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
export DEBIAN_FRONTEND=noninteractive
pam-auth-update --package --force
/lib/systemd/systemd-journald >/dev/null 2>&1 &
trap "kill $!" EXIT
until journalctl --sync 2>/dev/null; do kill -0 $!; done
# On a terminal, as an administrator sees it.
export SYSTEMD_PAGER=cat TERM=dumb LC_ALL=C.UTF-8
script -qec "bash ./commands" /dev/null`
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "bash", "-c", host, "bash", s.dir).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
