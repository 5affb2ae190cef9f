// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

//go:embed testdata/programs.sh
var programsHost string

// caller is a program that opens sessions, with what is typed and seen.
type caller struct {
	name, service string
	line          string      // what is run, in the shell of testdata/programs.sh
	typed         [][2]string // on a terminal: what is waited for, and what is typed then
	prints        string      // each that is seen
}

const (
	creationMessage = "Creating directory '/home/nina'.\n"
	atHome          = "nina in /home/nina, none\n7\n"
	atRoot          = "nina in /, none\n7\n"
	inShell         = creationMessage + "$ exec $S/inside\nnina in /home/nina, a terminal\n7\n"
)

// atPrompt is typed at a login shell's prompt.
var atPrompt = [2]string{"$ ", "exec $S/inside\n"}

// su and sudo keep to themselves what a module tells, but for a login.
var callers = []caller{
	{name: "su", service: "su", line: `su nina -c $S/inside; echo $?`, prints: atRoot},
	{name: "su -", service: "su-l", line: `su - nina -c $S/inside; echo $?`, prints: atHome},
	{name: "su by a user", service: "su", line: `otto su nina -c $S/inside; echo $?`, typed: [][2]string{{"Password: ", "berth\n"}},
		prints: "Password: \nnina in /, a terminal\n7\n"},
	{name: "su - by a user", service: "su-l", line: `otto su - nina; echo $?`, typed: [][2]string{{"Password: ", "berth\n"}, atPrompt}, prints: "Password: \n" + inShell},
	{name: "sudo", service: "sudo", line: `sudo -u nina $S/inside; echo $?`, prints: atRoot},
	{name: "sudo by a user", service: "sudo", line: `otto sudo -u nina $S/inside; echo $?`, typed: [][2]string{{"[sudo] password for otto: ", "berth\n"}},
		prints: "[sudo] password for otto: \nnina in /, a terminal\n7\n"},
	{name: "sudo -i", service: "sudo-i", line: `otto sudo -i -u nina; echo $?`, typed: [][2]string{{"[sudo] password for otto: ", "berth\n"}, atPrompt},
		prints: "[sudo] password for otto: \n" + inShell},
	{name: "login", service: "login", line: `setsid --ctty --wait login nina`, typed: [][2]string{{"Password: ", "berth\n"}, atPrompt}, prints: "Password: \n" + strings.TrimSuffix(inShell, "7\n")},
	{name: "runuser", service: "runuser", line: `runuser nina -c $S/inside; echo $?`, prints: atRoot},
	{name: "runuser -l", service: "runuser-l", line: `runuser -l nina -c $S/inside; echo $?`, prints: atHome},
	{name: "cron", service: "cron", line: `crontab=/var/spool/cron/crontabs/nina; echo "@reboot $S/inside >/run/nina/out 2>&1" >$crontab; chmod 600 $crontab; chown nina $crontab
cron -f & until [ -s /run/nina/out ] && ! pgrep -P $! >/dev/null; do sleep 0.02; done; cat /run/nina/out; kill $!`,
		prints: "nina in /home/nina, none\n"},
	{name: "pamtester", service: "su", line: `pamtester su nina open_session close_session`,
		prints: creationMessage + "pamtester: successfully opened a session\npamtester: session has successfully been closed.\n"},
	{name: "sshd, multiplexed", service: "sshd", line: `serve; for i in 1 2 3; do remote publickey -S $S/mux -o ControlMaster=auto -o ControlPersist=60 127.0.0.1 $S/inside; echo $?; done
remote publickey -S $S/mux -O exit 127.0.0.1 2>/dev/null; kill $sshd`, prints: atHome + atHome + atHome},
}

func init() {
	for _, by := range []string{"password", "publickey", "keyboard-interactive"} {
		callers = append(callers,
			caller{name: "sshd, " + by, service: "sshd", line: `serve; remote ` + by + ` 127.0.0.1 $S/inside; echo $?; kill $sshd`, prints: atHome},
			caller{name: "sshd, " + by + ", a terminal", service: "sshd", line: `serve; remote ` + by + ` 127.0.0.1; echo $?; kill $sshd`,
				typed: [][2]string{atPrompt}, prints: inShell})
	}
}

// Each program, where there is no home yet, and again: it works and prints what it always
// does, the session is opened and closed once, the home is whole, and no worker
// and no child that nobody took is left, neither during the session nor after.
func TestPrograms(t *testing.T) {
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			_, path := program(t, `echo "$PAM_TYPE for $PAM_USER"`)
			log := s.listen()
			if out := c.run(s, built.module+" exec_failure=deny exec="+path); out != strings.ReplaceAll(c.prints, "$S", s.dir) {
				t.Errorf("it printed %q", out)
			}
			s.checkHome(0o750)
			// Again, with all in place: of that there is nothing to tell, nor to log.
			s.must(os.RemoveAll(filepath.Join(s.dir, "new")))
			if out := c.run(s, built.module); out != strings.ReplaceAll(strings.ReplaceAll(c.prints, creationMessage, ""), "$S", s.dir) {
				t.Errorf("again it printed %q", out)
			}
			s.checkHome(0o750)
			var ours []string
			all := log.lines()
			for _, line := range strings.Split(all, "\n") {
				if _, line, by := strings.Cut(line, "pam_berth("); by {
					ours = append(ours, strings.TrimRight(line, "\x00\n"))
				}
			}
			at := c.service + ":session): "
			if got, want := strings.Join(ours, "\n"), at+"made /home/nina for nina\n"+at+"exec: open_session for nina\n"+at+"exec: close_session for nina"; got != want {
				t.Errorf("it logged\n%s\nof\n%s", got, all)
			}
		})
	}
}

// In sshd's process that opened a session, and will close it, there is nothing
// more of pam_berth's work than there is of pam_mkhomedir's: no thread, no
// handler, no descriptor and no child.
func TestProgramsMonitor(t *testing.T) {
	c := caller{line: `serve; coproc remote publickey 127.0.0.1 'echo in; cat'; client=$!; exec {to}>&${COPROC[1]}- {from}<&${COPROC[0]}-
read -r -t 30 said <&$from; echo $said; monitor; exec {to}>&-; wait $client; kill $sshd`}
	var seen [2]string
	for i, line := range []string{"pam_mkhomedir.so", built.module} {
		s := newSite(t, "")
		seen[i] = c.run(s, line)
		checkLines(t, seen[i], "in\n", "Threads:\t1\n", "SigCgt:", "fd 0\n", "\nsshd: nina@notty")
	}
	if seen[0] != seen[1] {
		t.Errorf("with pam_mkhomedir:\n%s\nwith pam_berth:\n%s", seen[0], seen[1])
	}
}

// run returns all that the program, and whatever it left, have printed.
func (c caller) run(s *site, line string) string {
	s.t.Helper()
	s.secluded = true
	passwd := s.text(filepath.Join(s.dir, "passwd"))
	s.write("passwd", passwd+"otto:x:4713:4713::/:/bin/sh\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n", 0o644)
	s.write("skel/.profile", "profile=read\n", 0o644)
	s.write("programs.sh", programsHost, 0o644)
	script := ownDirs + "LINE='" + line + "'; . $S/programs.sh; set +e\n" + c.line + "\nalone\n"
	if c.typed == nil {
		return strings.ReplaceAll(s.exec(script, "true"), "\r\n", "\n")
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	cmd := s.command(ctx, script, "true")
	terminal, err := pty.Start(cmd)
	s.must(err)
	defer terminal.Close()
	out := converse(terminal, s.dir, c.typed)
	if err := cmd.Wait(); ctx.Err() != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return strings.ReplaceAll(out, "\r\n", "\n")
}

// converse types what there is to type, and returns what was seen.
func converse(terminal io.ReadWriter, dir string, typed [][2]string) string {
	var seen strings.Builder
	buf := make([]byte, 4096)
	for from := 0; ; {
		n, err := terminal.Read(buf)
		seen.Write(buf[:n])
		if len(typed) > 0 && strings.Contains(seen.String()[from:], typed[0][0]) {
			from = seen.Len()
			if _, err := io.WriteString(terminal, strings.ReplaceAll(typed[0][1], "$S", dir)); err != nil {
				return seen.String() + err.Error()
			}
			typed = typed[1:]
		}
		if err != nil {
			return seen.String()
		}
	}
}
