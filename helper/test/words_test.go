// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/link/lifeline"
	"berth/test/labs"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func init() {
	// A session by a client of our own, with an id of its own, or none as a berth-session of
	// before. It says the frames that come behind Started.
	probes["frames"] = func(args []string) string {
		c, err := dial(socket)
		if err != nil {
			return err.Error()
		}
		if words := c.hello(); words != "" {
			return words
		}
		null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
		if err != nil {
			return err.Error()
		}
		start := lifeline.StartRequest{ID: args[0], Kind: lifeline.CommandRequest, Command: "read x", Env: []string{"PATH=/usr/bin:/bin"}}
		if kind, words := c.ask(lifeline.Start, start.Pack(), 0, null, null); kind != lifeline.Started {
			return words
		}
		fmt.Println("up")
		for frames := ""; ; {
			kind, _ := c.receive()
			frames += string(rune(kind))
			if kind != lifeline.Notice {
				return frames
			}
		}
	}
}

// openScreen is a session of user's with a terminal, which shows what it says.
func openScreen(t *testing.T, l *labs.Lab, user, command string) (cmd *exec.Cmd, terminal *os.File, said *screen) {
	t.Helper()
	cmd = l.AsUser(user, "env", "-i", "TERM=dumb", "SSH_ORIGINAL_COMMAND="+command, "/usr/libexec/berth/berth-session")
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	said = &screen{}
	go func() { _, _ = io.Copy(said, terminal) }()
	t.Cleanup(func() { terminal.Close() })
	return cmd, terminal, said
}

// awaitSession waits until the keeper lists a session of user's with an id, and returns it.
func awaitSession(t *testing.T, l *labs.Lab, user string) (found control.Session) {
	t.Helper()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		all, err := keeper(l).List()
		for _, s := range all {
			if found = s; fmt.Sprint(s.UID) == l.UID(t, user) && s.ID != "" {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v, %v", all, err)
	})
	return found
}

// lastLine is the session's last in the log.
func lastLine(t *testing.T, l *labs.Lab, id string) (last labs.Line) {
	t.Helper()
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		for _, line := range l.Record() {
			if line.Fields["id"] == id {
				last = line
			}
		}
		return last.Event != "" && last.Event != "requested" && last.Event != "started", fmt.Sprintf("%+v", last)
	})
	return last
}

// The keeper knows sessions by the ids of their records, by both transports and from one
// berth-init to the next.
func TestSessionsHaveIDs(t *testing.T) {
	l := labs.New(t, autoTransport)
	logInOnce(t, l, "alice", "bob")
	for i, program := range programs {
		user := []string{"alice", "bob"}[i]
		_, in := labs.StartWithPipes(t, l.AsUser(user, program, "-c", "echo up; read x"))
		if line, err := in.ReadString('\n'); line != "up\n" {
			t.Fatalf("%q, %v", line, err)
		}
		s := awaitSession(t, l, user)
		if s.Transport != []string{"direct", "exec"}[i] {
			t.Errorf("%+v", s)
		}
		// The log is read by another process.
		labs.Eventually(t, labs.Patience, func() (bool, string) {
			for _, line := range l.Record() {
				if line.Event == "started" && line.Fields["id"] == s.ID && line.Fields["user"] == user {
					return true, ""
				}
			}
			return false, fmt.Sprintf("no record with the id %s of %s", s.ID, user)
		})
	}
	before, err := keeper(l).List()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper(l).Renew(); err != nil {
		t.Fatal(err)
	}
	if now, err := keeper(l).List(); err != nil || fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("%+v became %+v, %v", before, now, err)
	}
}

// What docker logs says of a session has its id.
func TestLogOfTheContainerHasIDs(t *testing.T) {
	logInOnce(t, lab, "alice")
	for what, signal := range map[string]syscall.Signal{"was killed": syscall.SIGKILL, "does not end its session and is killed": syscall.SIGSTOP} {
		h, said := startOnScreen(t, lab, "echo up; read x")
		said.await(t, "up")
		s := awaitSession(t, lab, "alice")
		for _, pid := range watchers(t, lab, "alice") {
			_ = syscall.Kill(pid, signal)
		}
		h.disconnect()
		want := regexp.MustCompile(fmt.Sprintf(`the supervisor %d of uid %d \(id %s\) %s`, s.PID, s.UID, s.ID, what))
		labs.Eventually(t, labs.Patience, func() (bool, string) {
			log := containerLog(t, lab)
			return want.MatchString(log), fmt.Sprintf("no %s in\n%s", want, log)
		})
		awaitEndOfAlice(t, lab)
	}
}

// An id is the word of the user's own end: what has not its form, or is another session's, is
// not taken. Who gives none gets no notice.
func TestForgedIDs(t *testing.T) {
	l := labs.New(t, "")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice", "bob")
	h, said := startOnScreenAs(t, l, "bob", "echo up; read x")
	said.await(t, "up")
	taken := awaitSession(t, l, "bob").ID
	for id, notice := range map[string]bool{
		"": false, "0123abcd-4567cdef": true, "fedcba98": true, taken: false, "0123ABCD-4567cdef": false, "0123abcd-4567cde": false,
		"0123abcd-4567cdef-": false, "0123abcd 4567cdef": false, strings.Repeat("0123abcd-", 1000): false, "-": false,
	} {
		cmd := l.AsUser("alice", "env", "BERTH_PROBE=frames", "/home/probe", id)
		in, out := labs.StartWithPipes(t, cmd)
		if line, err := out.ReadString('\n'); line != "up\n" {
			t.Fatalf("%q: %q, %v", id, line, err)
		}
		if notice {
			if got := awaitSession(t, l, "alice").ID; got != id {
				t.Errorf("%q is listed as %q", id, got)
			}
		}
		if err := keeper(l).Tell("noon"); err != nil {
			t.Error(err)
		}
		all, err := keeper(l).List()
		for _, s := range all {
			if fmt.Sprint(s.UID) == l.UID(t, "alice") && (s.ID != "") != notice {
				t.Errorf("%q: %+v, %v", id, s, err)
			}
		}
		in.Close()
		want := "X\n"
		if notice {
			want = "NX\n"
		}
		if line, err := out.ReadString('\n'); line != want {
			t.Errorf("%q: the frames %q, %v; want %q", id, line, err, want)
		}
		_ = cmd.Wait()
	}
	h.disconnect()
}

// What an administrator says is shown in a line on each terminal, and nowhere else.
func TestNotices(t *testing.T) {
	logInOnce(t, lab, "alice", "bob")
	before := stableState(t, lab)
	cmd, terminal, said := openScreen(t, lab, "alice", "stty -echo; echo up; read x; echo done")
	said.await(t, "up")
	awaitSession(t, lab, "alice")
	bob, heard := startOnScreenAs(t, lab, "bob", "echo up; read x; echo done")
	heard.await(t, "up")
	awaitSession(t, lab, "bob")
	const words = "Reboot at noon, grün"
	if err := keeper(lab).Tell(words); err != nil {
		t.Fatal(err)
	}
	said.await(t, "\r\nberth: "+words+"\r\n")
	// A renewal later, too.
	if err := keeper(lab).Renew(); err != nil {
		t.Fatal(err)
	}
	if err := keeper(lab).Tell("again"); err != nil {
		t.Fatal(err)
	}
	said.await(t, "\r\nberth: again\r\n")
	for _, to := range []io.Writer{terminal, bob.in} {
		if _, err := io.WriteString(to, "go\n"); err != nil {
			t.Error(err)
		}
	}
	said.await(t, "done")
	heard.await(t, "done")
	if heard.String() != "up\ndone\n" {
		t.Errorf("without a terminal: %q", heard)
	}
	_ = cmd.Wait()
	bob.disconnect()
	// By the control socket alone, what berth itself does not send.
	for _, request := range []string{"tell \x1b[2J", "tell " + strings.Repeat("x", 201), "end 1 \x07"} {
		out, err := exec.Command("perl", "-MIO::Socket::UNIX", "-e",
			`$s = IO::Socket::UNIX->new($ARGV[0]) or die $!; print $s "$ARGV[1]\n"; print <$s>`, lab.Path("serve/control"), request).CombinedOutput()
		if err != nil || string(out) != "these are no words for a user\n" {
			t.Errorf("%q: %q, %v", request, out, err)
		}
	}
	logInOnce(t, lab, "alice") // whose PAM session looks after what was started meanwhile
	awaitState(t, lab, before)
}

// A session that an administrator ends is hung up, its user reads why on the last line, and
// its record says whose end it was.
func TestEndByAdministrator(t *testing.T) {
	l := labs.New(t, "")
	logInOnce(t, l, "alice", "bob")
	const saves = "trap 'echo saved >~/saved; exit' HUP; stty -echo 2>/dev/null; echo up; while :; do sleep 0.05; done"
	cmd, _, said := openScreen(t, l, "alice", saves)
	said.await(t, "up")
	bob, heard := startOnScreenAs(t, l, "bob", saves)
	heard.await(t, "up")
	for user, words := range map[string]string{"alice": "the disk is full, grün", "bob": ""} {
		s := awaitSession(t, l, user)
		if err := keeper(l).End(s.PID, words); err != nil {
			t.Fatal(err)
		}
		screen, want := said, fmt.Sprintf("\r\nberth: %s (id %s)\r\n", words, s.ID)
		if user == "bob" {
			screen, want = heard, fmt.Sprintf("berth: an administrator has ended this session (id %s)\n", s.ID)
		}
		screen.await(t, want)
		if line := lastLine(t, l, s.ID); line.Event != "ended" || line.Fields["reason"] != "administrator" {
			t.Errorf("%s: %+v", user, line)
		}
		labs.Eventually(t, endTimeout, func() (bool, string) {
			r := l.Try("cat", "/home/"+user+"/saved")
			return r.Out == "saved\n", fmt.Sprintf("%s: %+v", user, r)
		})
	}
	for _, c := range []*exec.Cmd{cmd, bob.cmd} {
		if _ = c.Wait(); c.ProcessState.ExitCode() != 255 {
			t.Errorf("status %d", c.ProcessState.ExitCode())
		}
	}
	if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); !strings.HasPrefix(lines[len(lines)-1], "berth: the disk is full") {
		t.Errorf("something follows: %q", said)
	}
}
