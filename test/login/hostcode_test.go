// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A trap is a file in a home that runs on a host at a login, and what has to be
// missing for it.
type trap struct {
	file, text string // $T is the trap's own command
	host       string // whose home
	shell      bool   // an interactive login; else a command
	missing    string // a sed script that takes the defence out of the drop-in
	never      string // or why it goes off on no host of this kind
}

// The whole of berth's block, and the line in it that cleans a forced command's
// environment. ForceCommand stays with the second.
const (
	noMatch  = "/^Match Group berth/,/^Match all/d"
	noSetEnv = "/^ *SetEnv /d"
)

var traps = []trap{
	// sshd runs the forced command by her shell, and these are that shell's.
	{file: ".bashrc", text: "$T\n", host: "alice", missing: noSetEnv},
	{file: ".zshenv", text: "$T\n", host: "erin", missing: noSetEnv},
	// Debian 12's own PAM stack reads this (user_readenv=1).
	{file: ".pam_environment", text: "LD_PRELOAD DEFAULT=@{HOME}/preload.so\n", host: "alice", missing: noSetEnv},
	{file: ".pam_environment", text: "ZDOTDIR DEFAULT=@{HOME}/zdotdir\n", host: "erin", missing: noSetEnv},
	{file: ".pam_environment", text: "BASH_ENV DEFAULT=@{HOME}/rc\nENV DEFAULT=@{HOME}/rc\n", host: "alice",
		never: "bash under sshd reads .bashrc in place of BASH_ENV; ENV is for interactive shells"},
	// Read with PermitUserEnvironment, which the variants have.
	{file: ".ssh/environment", text: "LD_PRELOAD=$H/preload.so\n", host: "alice", missing: noSetEnv},
	// Not read for a forced command, nor by a shell that is no login's.
	{file: ".ssh/rc", text: "$T\n", host: "alice", missing: noMatch},
	{file: ".profile", text: "$T\n", host: "alice", shell: true, missing: noMatch},
	{file: ".bash_profile", text: "$T\n", host: "alice", shell: true, missing: noMatch},
	{file: ".zshrc", text: "$T\n", host: "erin", shell: true, missing: noMatch},
	{file: ".cshrc", text: "$T\n", host: "alice", never: "no user here has csh"},
	{file: ".kshrc", text: "$T\n", host: "alice", never: "no user here has ksh"},
}

// setTrap makes what traps lead to, once for each home: it leaves a file in the home if
// it runs where the lab's directory is, which is on the host.
func (l *Lab) setTrap(t *testing.T, host string) (trigger string) {
	t.Helper()
	home := l.Path("home/" + host)
	trigger = "test -d " + l.Dir + " && touch " + home + "/ESCAPED"
	write(t, home+"/rc", trigger+"\n")
	if err := os.MkdirAll(home+"/zdotdir", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, home+"/zdotdir/.zshenv", trigger+"\n")
	l.buildPreload(t, home+"/preload.so", home+"/ESCAPED")
	return trigger
}

// buildPreload makes a library that leaves a file where it is loaded on the host.
func (l *Lab) buildPreload(t *testing.T, path, mark string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "preload.c")
	write(t, source, `#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void)
{
	if (access("`+l.Dir+`", F_OK) == 0)
		close(open("`+mark+`", O_CREAT | O_WRONLY, 0666));
}
`)
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", path, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// springsTrap logs in, and tells whether the trap went off.
func (l *Lab) springsTrap(t *testing.T, cmd *exec.Cmd, host string, shell bool) bool {
	t.Helper()
	mark := l.Path("home/" + host + "/ESCAPED")
	if err := os.Remove(mark); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if shell {
		s := open(t, cmd)
		s.expect(`[$%] `)
		s.send("exit\r")
		s.end()
	} else if r := finish(cmd); !strings.Contains(r.Out, "in\n") {
		t.Fatalf("%s: no login: %+v", host, r)
	}
	_, err := os.Lstat(mark)
	return err == nil
}

// The home's own files run on the host for nobody, not even on a host with the
// settings that let most of them in; and each does run where its defence is missing.
func TestNoHostCode(t *testing.T) {
	l := newLab(t, "")
	triggers := map[string]string{}
	for _, host := range []string{"alice", "erin"} {
		l.run(t, host, "true") // the home is there
		triggers[host] = l.setTrap(t, host)
	}
	// Stock Debian 12: ~/.pam_environment is obeyed.
	l.Exec(t, "sed", "-i", "s,pam_env.so envfile=,pam_env.so user_readenv=1 envfile=,", "/etc/pam.d/sshd")
	if stack := l.Exec(t, "cat", "/etc/pam.d/sshd"); !strings.Contains(stack, "pam_env.so user_readenv=1 envfile=/etc/default/locale") {
		t.Fatalf("the stack is not as it should be:\n%s", stack)
	}
	const global = "PermitUserEnvironment yes"
	careless := l.variant(t, "careless", "", global)
	without := map[string]variant{noSetEnv: l.variant(t, "no-setenv", noSetEnv, global), noMatch: l.variant(t, "no-match", noMatch, global)}
	command := func(shell bool) []string {
		if shell {
			return nil
		}
		return []string{"echo in"}
	}
	for _, c := range traps {
		path := l.Path("home/" + c.host + "/" + c.file)
		kept, err := os.ReadFile(path) // the skeleton's, some of them
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		write(t, path, strings.NewReplacer("$T", triggers[c.host], "$H", l.Path("home/"+c.host)).Replace(c.text))
		name := c.host + "'s " + c.file + ", " + strings.TrimSpace(c.text)
		for _, shell := range []bool{false, true} {
			if l.springsTrap(t, careless.SSH(c.host, command(shell)...), c.host, shell) {
				t.Errorf("%s: ran on the host", name)
			}
		}
		for missing, v := range without {
			if c.missing != missing && c.never == "" {
				continue
			}
			if went := l.springsTrap(t, v.SSH(c.host, command(c.shell)...), c.host, c.shell); went != (c.never == "") {
				t.Errorf("%s, on a host without %q: ran %v; %s", name, missing, went, c.never)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if kept != nil {
			write(t, path, string(kept))
		}
	}
}
