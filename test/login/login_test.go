// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// carol has no home yet and comes with her password: she lands in a home of
// her own, as herself, in a terminal.
func TestFirstLogin(t *testing.T) {
	l := newLab(t, "")
	home := l.Path("home/carol")
	if _, err := os.Lstat(home); !os.IsNotExist(err) {
		t.Fatalf("carol has a home already: %v", err)
	}
	cmd := l.SSH("carol", "-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no")
	s := open(t, cmd)
	s.expect(`(?i)password:`)
	s.send("berth\r")
	s.expect(`[$] $`)
	for question, want := range map[string]string{
		"id":                                 strings.TrimSpace(l.Exec(t, "id", "carol")),
		"whoami":                             "carol",
		"stty size":                          fmt.Sprintf("%d %d", rows, cols),
		"pwd":                                "/home/carol",
		"echo $HOME":                         "/home/carol",
		"echo $USER":                         "carol",
		"echo $LOGNAME":                      "carol",
		"echo $SHELL":                        "/bin/bash",
		"echo $TERM":                         "xterm-256color",
		"echo $LANG":                         "C.UTF-8",
		"echo $0":                            "-bash",
		"umask":                              "0022",
		"test -t 2; echo $?":                 "0",
		`[ "$SSH_TTY" = "$(tty)" ]; echo $?`: "0",
		`echo "${SSH_CONNECTION%% *}"`:       "127.0.0.1",
		"stat -c '%U %G %a' ~/.ssh/authorized_keys": "carol carol 600",
	} {
		if got := s.ask(question); got != want {
			t.Errorf("%s: got %q, want %q", question, got, want)
		}
	}
	if tty := s.ask("tty"); !strings.HasPrefix(tty, "/dev/pts/") {
		t.Errorf("tty: %q", tty)
	}
	s.send("exit 7\r")
	if status := s.end(); status != 7 {
		t.Errorf("exit status %d, want 7", status)
	}
	owner := l.Exec(t, "stat", "-c", "%U %a", "/home/carol", "/home/carol/.ssh", "/home/carol/.ssh/authorized_keys")
	if want := "carol 700\ncarol 700\ncarol 600\n"; !strings.HasSuffix(owner, "carol 700\ncarol 600\n") || !strings.HasPrefix(owner, "carol 7") {
		t.Errorf("home on the host: %q, want like %q", owner, want)
	}
	l.awaitLog(t, "session requested", "user=carol", "kind=shell")
	l.awaitLog(t, "session ended", "user=carol", "status=7")
}

// Every user's id inside is her id outside, names and all, in the image with a
// glibc and in the one with a busybox.
func TestIDInsideIsIDOutside(t *testing.T) {
	for _, image := range []string{"", "berth:busybox"} {
		t.Run("image "+image, func(t *testing.T) {
			l := lab
			if image != "" {
				l = newLab(t, fmt.Sprintf("[container]\nimage = %q\n", image))
			}
			for _, host := range []string{"alice", "bob", "carol", "dave", "erin"} {
				want := l.Exec(t, "id", host)
				got := l.run(t, host, "id")
				if image != "" { // busybox prints the primary group where its number puts it
					got, want = sortedGroups(got), sortedGroups(want)
				}
				if got != want {
					t.Errorf("%s inside: %s outside: %s", host, got, want)
				}
				if got := l.run(t, host, "whoami; id -gn; cd; pwd"); !strings.HasPrefix(got, host+"\n") || !strings.HasSuffix(got, "/home/"+host+"\n") {
					t.Errorf("%s: %q", host, got)
				}
			}
		})
	}
}

// The window follows the client's, and the client's own modes arrive.
func TestTerminal(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	ssh := lab.SSH("alice", "-E", log, "-o", "LogLevel=DEBUG2")
	s := open(t, exec.Command("sh", append([]string{"-c", `stty iutf8 -ixany erase ^G; exec "$@"`, "sh"}, ssh.Args...)...))
	s.expect(`[$] $`)
	if got := s.ask("stty -a"); !strings.Contains(got, "\niutf8") || !strings.Contains(got, "erase = ^G") {
		t.Errorf("the client's modes did not arrive: %s", got)
	}
	// Every key reaches the program, those that docker detaches by too.
	// Its own word, not the shell's echo: what is typed before the shell has put
	// the terminal's modes back reaches cat raw, and cat waits for a line's end.
	s.send("sh -c 'echo lis''tening; exec cat -v'\r")
	s.expect(`listening\r\n`)
	s.send("\x16\x10\x16\x11x\r") // ctrl-v ctrl-p ctrl-v ctrl-q
	s.expect(`\^P\^Qx`)
	s.send("\x03")
	s.expect(`[$] $`)
	s.send("trap 'echo resized $(stty size)' WINCH; echo rea''dy\r")
	// The prompt, too: before it readline reads the terminal's size and sets it again
	// (rltty.c, set_winsize), and so undoes a change that comes in between, under plain
	// sshd as well.
	s.expect(`(?s)ready.*[$] $`)
	resize(t, s, 50, 132)
	// ssh(1) learns of it by a signal and may read a key first. Its key is behind it
	// only once it has told the server.
	eventually(t, patience, func() (bool, string) {
		text, err := os.ReadFile(log)
		return strings.Contains(string(text), "client_check_window_change: changed"), fmt.Sprintf("the client did not tell the new size: %v\n%s", err, tail(string(text), 2000))
	})
	s.send("\r")
	s.expect(`resized 50 132`)
	s.send("exit\r")
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// A person edits a file in each editor that the image brings; the host sees it
// as hers.
func TestEditors(t *testing.T) {
	for _, c := range []struct{ editor, ready, save string }{
		{"vim", `editor-vim`, "itext from vim\x1b:wq\r"},
		{"nano", `Exit|\^X`, "text from nano\x0f\r\x18"},
		{"emacs -nw -Q", `editor-emacs`, "text from emacs\x18\x13\x18\x03"},
	} {
		name, _, _ := strings.Cut(c.editor, " ")
		t.Run(name, func(t *testing.T) {
			file := "editor-" + name + ".txt"
			s := lab.shell(t, "alice")
			s.send(c.editor + " " + file + "\r")
			s.expect(c.editor + " " + file) // the echo
			s.expect(c.ready)
			if name == "nano" {
				s.send("text from nano\x0f")
				s.expect(`Write`)
				s.send("\r")
				s.expect(`Wrote`)
				s.send("\x18")
			} else {
				s.send(c.save)
			}
			s.expect(`[$] $`)
			s.send("exit\r")
			s.end()
			path := lab.Path(filepath.Join("home/alice", file))
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), "text from "+name) {
				t.Fatalf("%s: %q, %v\n%s", path, text, err, s.dump())
			}
			if owner := lab.Exec(t, "stat", "-c", "%U:%G", "/home/alice/"+file); owner != "alice:alice\n" {
				t.Errorf("owner %q", owner)
			}
		})
	}
}

func sortedGroups(id string) string {
	head, groups, _ := strings.Cut(strings.TrimSpace(id), "groups=")
	list := strings.Split(groups, ",")
	slices.Sort(list)
	return head + strings.Join(list, ",")
}

// A home that cannot be entered is said, and the session starts in the root.
func TestHomeThatCannotBeEntered(t *testing.T) {
	l := newLab(t, "")
	l.run(t, "dave", "true")
	l.Exec(t, "chmod", "000", "/home/dave")
	r := finish(l.SSH("dave", "pwd"))
	if r.Status != 0 || r.Out != "/\n" || !strings.Contains(r.Err, "Could not change directory to /home/dave: permission denied") {
		t.Errorf("%+v", r)
	}
}
