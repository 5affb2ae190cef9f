// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The module's file is exchanged after the host has loaded it, and what stands
// there is run as the worker. $M is the file, $N a fresh copy of it, $S the site.
func exchangeModule(t *testing.T, options, how string) *site {
	t.Helper()
	s := newSite(t, options)
	s.exchange(options, how)
	return s
}

// exchange has the site's file "how" exchange it.
func (s *site) exchange(options, how string) {
	s.t.Helper()
	s.shell(fmt.Sprintf("cd %s; mkdir lib; cp %s lib/pam_berth.so; cp lib/pam_berth.so new", s.dir, built.module))
	s.write("pam.d/test", "session required "+s.dir+"/lib/pam_berth.so "+options+"\n", 0o644)
	s.write("how", "set -e; S="+s.dir+"; N=$S/new M=$S/lib/pam_berth.so\n"+how, 0o644)
}

// workerScript is a program in the worker's place, by a shell script.
func workerScript(text string) string {
	return "cat >$N <<'END'\n#!/bin/sh\n" + text + "\nEND\nmv $N $M\n"
}

const refusalMessage = "Your home directory could not be prepared; please tell the administrator."

// Whatever the worker is or does: the answer is as pam_berth(8) says, in time,
// the cause is in the log, the user is told one line, and the host is as before.
func TestBadWorkers(t *testing.T) {
	t.Parallel()
	const hang = "exec sleep 1000"
	for name, c := range map[string]struct {
		how, answer, log string
		told             string // "" for sorry
	}{
		"missing":                  {how: "rm $M", answer: "open 4", log: "could not be run: No such file or directory"},
		"not executable":           {how: "chmod 644 $M", answer: "open 4", log: "could not be run: Permission denied"},
		"on a noexec mount":        {how: "mount --bind $S/lib $S/lib; mount -o remount,bind,noexec $S/lib", answer: "open 4", log: "could not be run: Permission denied"},
		"a directory":              {how: "rm $M; mkdir $M", answer: "open 4", log: "could not be run: Permission denied"},
		"empty":                    {how: ">$N; mv $N $M", answer: "open 4", log: "could not be run: Exec format error"},
		"another architecture's":   {how: `printf '\363\000' | dd of=$N bs=1 seek=18 conv=notrunc status=none; mv $N $M`, answer: "open 4", log: "could not be run: Exec format error"},
		"truncated":                {how: "truncate -s 30000 $N; mv $N $M", answer: "open 4", log: "could not be run: Input/output error"},
		"truncated near its end":   {how: "truncate -s -150000 $N; mv $N $M", answer: "open 14", log: "ended without a result: signal"},
		"a newer one":              {how: "mv $N $M", answer: "open 0", told: "Creating directory '/home/nina'."},
		"of another interface":     {how: "sed -i s/berth-home-2/berth-home-9/g $N; mv $N $M", answer: "open 14", log: "run by its PAM module alone"},
		"a crash":                  {how: workerScript("kill -SEGV $$"), answer: "open 14", log: "ended without a result: signal 11"},
		"an odd status":            {how: workerScript("exit 77"), answer: "open 14", log: "ended without a result: status 77"},
		"no result":                {how: workerScript("exit 0"), answer: "open 14", log: "ended without a result: status 0"},
		"hangs":                    {how: workerScript(hang), answer: "open 14", log: "was not done after 1 s and was killed"},
		"hangs and cannot be told": {how: workerScript("trap '' TERM HUP INT QUIT ALRM USR1 USR2 PIPE; " + hang), answer: "open 14", log: "was not done after 1 s and was killed"},
		"stops itself":             {how: workerScript("kill -STOP $$"), answer: "open 14", log: "was not done after 1 s and was killed"},
		"hangs without a pipe":     {how: workerScript("exec 2>&- 3>&-; " + hang), answer: "open 14", log: "ended without a result: signal 9"},
		"hangs with a result":      {how: workerScript("echo R6 >&3; " + hang), answer: "open 6"},
		"a daemon with the pipe":   {how: workerScript("echo $$ >$(dirname $0)/../group; sleep 1000 & exit 0"), answer: "open 14", log: "was not done after 1 s and was killed"},
		"10 MB of output":          {how: workerScript("head -c 10000000 /dev/zero; echo R6 >&3"), answer: "open 6"},
		"10 MB of complaints":      {how: workerScript("yes complaint | head -c 10000000 >&2; echo R6 >&3"), answer: "open 6", log: "complaint"},
		"10 MB for the log":        {how: workerScript("yes Wnoise | head -c 10000000 >&3; echo >&3; echo R6 >&3"), answer: "open 6", log: "noise"},
		"10 MB for the user":       {how: workerScript("yes Unoise | head -c 10000000 >&3; echo >&3; echo R6 >&3"), answer: "open 6", told: "noise"},
		"10 MB in one line":        {how: workerScript("head -c 10000000 /dev/zero >&3"), answer: "open 14", log: "???"},
		"no end of it":             {how: workerScript("exec yes Wnoise >&3"), answer: "open 14", log: "was not done after 1 s and was killed"},
		"escapes for the user":     {how: workerScript(`printf 'Ua\033]0;b\a\r\t\302\233c\177\303\204\nR6\n' >&3`), answer: "open 6", told: "a?]0;b?? ??c?Ä"},
		"escapes for the log":      {how: workerScript(`printf 'Wa\033]0;b\a\r\t\302\233c\177\303\204\000d\nR6\n' >&3`), answer: "open 6", log: ": a?]0;b?? ??c?Ä?d"},
		"a success out of rubbish": {how: workerScript(`printf 'R\nRubbish\nR 0\nR-1\nR99\nR0x\nR18446744073709551616\n\0R0\n R0\nr0\n' >&3`), answer: "open 14", log: "Rubbish"},
		"a result without an end":  {how: workerScript(`printf 'Wfine\nR0' >&3`), answer: "open 14", log: "ended without a result: status 0"},
		"a result in a long line":  {how: workerScript(`printf 'E%0510dR0\n' 0 >&3`), answer: "open 14", log: "000"},
		"formats":                  {how: workerScript(`printf 'W%%s%%n%%m\nU%%s%%n%%m\nR6\n' >&3`), answer: "open 6", log: "%s%n%m", told: "%s%n%m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := exchangeModule(t, "timeout=1", c.how)
			log := s.listen()
			s.keep()
			start := time.Now()
			out := s.host("", user, "after", "sh "+s.dir+"/how")
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if group := filepath.Join(s.dir, "group"); name == "a daemon with the pipe" {
				s.shell("kill -9 -$(cat " + group + ")") // it is nobody's, and the test's to end
			}
			s.checkNothingRuns()
			checkLines(t, out, c.answer)
			checkApplication(t, out)
			if c.told == "" {
				c.told = refusalMessage
			}
			if said := regexp.MustCompile(`(?s)says .*?open`).FindString(out); said != "says "+c.told+"\nopen" {
				t.Errorf("the user was told %q, not %q", said, c.told)
			}
			text := log.lines()
			checkLines(t, text, c.log)
			if n := strings.Count(text, "\n"); n > 42 || strings.ContainsAny(text, "\x1b\x00\a\r\x7f") || strings.Contains(text, "\u009b") {
				t.Errorf("%d lines are logged:\n%q", n, text)
			}
			if c.answer == "open 0" {
				s.checkHome(0o750)
			} else {
				s.checkNoHome()
			}
		})
	}
}

// Who wants to hear nothing hears nothing, and a script's worker is judged alike.
func TestBadWorkersQuietly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ options, answer, told string }{
		{"silent", "open 4", ""},
		{"exec=/bin/true", "open 0 close 0", ""},
		{"exec=/bin/true exec_failure=deny", "open 4 close 4", "says Your session could not be prepared"},
		{"exec=/bin/true exec_failure=deny silent", "open 4 close 4", ""},
	} {
		s := exchangeModule(t, c.options, "rm $M")
		log := s.listen()
		before := ""
		if strings.HasPrefix(c.options, "exec") {
			before = "install -d -o 4711 -g 4711 /home/nina /home/nina/.ssh; >/home/nina/.ssh/authorized_keys"
		}
		out := s.host(before, user, "after", "sh "+s.dir+"/how")
		checkLines(t, out, c.answer, c.told)
		if c.told == "" && strings.Contains(out, "says") {
			t.Errorf("%s: %s", c.options, out)
		}
		checkLines(t, log.lines(), "could not be run: No such file or directory")
		checkApplication(t, out)
	}
}
