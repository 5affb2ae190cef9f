// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"berth/test/labs"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A right is a line of README's table "What may a user do?": its answer, and the
// check that proves it.
type right struct {
	answer string
	proof  func(t *testing.T)
}

// A way is one way to do what the line says, as who: alice, or somebody for whom it
// works. It returns whether it worked, and what was seen.
type way func(t *testing.T, who string) (bool, any)

func yes(proof func(t *testing.T)) right { return right{"yes", proof} }

// no is a line that alice must fail by each of ways. The control, who is not
// confined or may do it for another reason, must succeed, or the test shows nothing.
func no(control string, ways ...way) right {
	return right{"no", func(t *testing.T) {
		for i, try := range ways {
			if works, seen := try(t, control); !works {
				t.Errorf("way %d does not work for %s either: the test shows nothing: %+v", i+1, control, seen)
			}
			if works, seen := try(t, "alice"); works {
				t.Errorf("way %d works: %+v", i+1, seen)
			}
		}
	}}
}

// command is a way: a command whose status tells. root has the host without sshd.
func command(line string) way {
	return func(t *testing.T, who string) (bool, any) {
		r := Result{}
		if who == "root" {
			r = lab.Try("sh", "-c", line)
		} else {
			r = finish(lab.SSH(who, line))
		}
		return r.Status == 0, r
	}
}

var rights = map[string]right{
	"work in a terminal, with an editor, in tmux":               yes(terminal),
	"run a command; its output, errors and status arrive":       yes(commands),
	"copy files with scp, sftp and rsync":                       yes(fileTransfer),
	"clone and push git repositories":                           yes(gitRepositories),
	"keep files in their home, which they own on the host, too": yes(home),

	"see which processes other users run in the container": no("root", processOf("bob")),

	"read another user's home": no("bob", command("ls /home/bob")),
	"see the host's files":     no("admin", func(t *testing.T, who string) (bool, any) { return command("ls "+lab.Path("log"))(t, who) }),
	"see the host's processes": no("admin", processOf("admin")),
	"connect to anything over the network": no("admin", func(t *testing.T, who string) (bool, any) {
		address := strings.Replace(greeter(t, "tcp", "127.0.0.1:0"), ":", "/", 1)
		return command("bash -c 'exec 3<>/dev/tcp/"+address+" && grep reached <&3'")(t, who)
	}),
	"forward a port or an ssh agent":                     {"no", noForwarding},
	"reach the container engine":                         no("admin", command("ls /run/docker.sock")),
	"become root":                                        no("admin", setuid),
	"change the system in the container":                 no("root", command("touch /etc/berth-right && rm /etc/berth-right")),
	"mount a file system":                                no("root", command("mount -t tmpfs none /mnt && umount /mnt || unshare -Urm mount -t tmpfs none /mnt")),
	"have a start-up file in their home run on the host": no("admin", startUpFile),
	"end a process of another user":                      no("bob", endOfBobs),
	"leave a process behind when they log out":           no("admin", leftBehind),
	"have more sessions than `session.limit`":            {"no", sessionsAboveTheLimit},
}

// What README says of a user is what a user finds.
func TestWhatAUserMayDo(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## What may a user do?\n")
	section, _, _ = strings.Cut(section, "\n## ")
	lines := regexp.MustCompile(`(?m)^\| ([^|]+?) \| (yes|no)\b[^|]*\|$`).FindAllStringSubmatch(section, -1)
	if !found || len(lines) == 0 {
		t.Fatal("README.md has no table")
	}
	if rows := strings.Count(section, "\n|"); rows != len(lines)+2 { // the head, and the line below it
		t.Errorf("the table has %d lines, of which %d can be read", rows-2, len(lines))
	}
	told := map[string]bool{}
	for _, line := range lines {
		what, answer := line[1], line[2]
		told[what] = true
		right, known := rights[what]
		if !known || right.answer != answer {
			t.Errorf("README.md says %q: %s, and no check proves that", what, answer)
			continue
		}
		t.Run(what, right.proof)
	}
	for what := range rights {
		if !told[what] {
			t.Errorf("README.md does not say %q", what)
		}
	}
}

func terminal(t *testing.T) {
	s := lab.shell(t, "alice")
	s.send(`tmux new 'echo "${TMUX:+in tmux, }$(tty)" >right.txt; vim -u NONE "+normal Aedited" +wq right.txt'` + "\r")
	s.expect(`\[exited\]`)
	s.send("exit\r")
	s.end()
	text, err := os.ReadFile(lab.Path("home/alice/right.txt"))
	if !regexp.MustCompile(`^in tmux, /dev/pts/\d+edited\n`).Match(text) {
		t.Errorf("%q, %v", text, err)
	}
}

func home(t *testing.T) {
	lab.run(t, "alice", "date >right-kept.txt")
	if owner := lab.Exec(t, "stat", "-c", "%U:%G", "/home/alice/right-kept.txt"); owner != "alice:alice\n" {
		t.Errorf("owner %q", owner)
	}
	lab.run(t, "alice", "test -s right-kept.txt && rm right-kept.txt")
}

// sleeper has who run a process in a session that stays open, and returns the name it
// goes by and its pid where it runs.
func sleeper(t *testing.T, who string) (mark, pid string) {
	t.Helper()
	mark = fmt.Sprintf("mark%d-%d-", os.Getpid(), marks.Add(1))
	_, out := labs.StartWithPipes(t, lab.SSH(who, "echo $$; exec -a "+mark+" sleep 3000"))
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s's session says no pid: %v", who, err)
	}
	eventually(t, patience, func() (bool, string) { return lab.countProcesses(t, mark) == 1, "no process" })
	return mark, strings.TrimSpace(line)
}

// processOf has who look for a process that owner has started.
func processOf(owner string) way {
	return func(t *testing.T, who string) (bool, any) {
		mark, _ := sleeper(t, owner)
		return command("ps -eo args | grep '^"+mark+" '")(t, who)
	}
}

func endOfBobs(t *testing.T, who string) (bool, any) {
	_, pid := sleeper(t, "bob")
	return command("kill -9 "+pid)(t, who)
}

// setuid has who run a program that belongs to root and is setuid.
func setuid(t *testing.T, who string) (bool, any) {
	program := "/home/right-id"
	lab.Exec(t, "install", "-m", "4755", "/usr/bin/id", program)
	defer lab.Exec(t, "rm", program)
	r := finish(lab.SSH(who, program+" -u"))
	return r.Out == "0\n", r
}

// startUpFile puts a line into .bashrc that leaves a file if it runs on the host.
func startUpFile(t *testing.T, who string) (bool, any) {
	lab.run(t, who, "true")
	file, ran := lab.Path(filepath.Join("home", who, ".bashrc")), lab.Path(filepath.Join("home", who, "ran"))
	kept, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	defer write(t, file, string(kept))
	write(t, file, "test -d "+lab.Dir+" && touch "+ran+"\n"+string(kept))
	lab.run(t, who, "true")
	err = os.Remove(ran)
	return err == nil, err
}

// leftBehind has who start a process that wants to outlive the session.
func leftBehind(t *testing.T, who string) (bool, any) {
	mark := fmt.Sprintf("mark%d-%d-", os.Getpid(), marks.Add(1))
	lab.run(t, who, "setsid bash -c 'trap \"\" HUP TERM; exec -a "+mark+" sleep 3000' </dev/null >/dev/null 2>&1 & until pgrep -f ^"+mark+"; do :; done")
	gone := time.After(endBound)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if lab.countProcesses(t, mark) == 0 {
				return false, "it has ended"
			}
		case <-gone:
			pid := lab.Exec(t, "pgrep", "-f", "^"+mark+" ")
			lab.Exec(t, "kill", "-9", strings.TrimSpace(pid))
			return true, "it lived on"
		}
	}
}

func sessionsAboveTheLimit(t *testing.T) {
	l := newLab(t, "[session]\nlimit = 2\n")
	for range 2 {
		_, out := labs.StartWithPipes(t, l.SSH("alice", "echo in; cat"))
		if line, err := out.ReadString('\n'); line != "in\n" {
			t.Fatalf("a session within the limit: %q, %v", line, err)
		}
	}
	l.refusal(t, finish(l.SSH("alice", "true")), "sessions")
	if r := finish(l.SSH("bob", "true")); r.Status != 0 {
		t.Errorf("bob, who has no session: %+v", r)
	}
}
