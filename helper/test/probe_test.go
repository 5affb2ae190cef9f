// SPDX-License-Identifier: Apache-2.0

// Package e2e attacks the socket that the container serves, in a lab of
// scripts/lab, with clients of its own: what a user of the host could write.
package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"
	"berth/test/labs"

	"golang.org/x/sys/unix"
)

const socket = policy.UsersDir + "/" + policy.AnyUser + "/" + paths.Socket

// The test program is its own probe: started with the name of one, as some user
// in the lab, it does that and no test.
var probes = map[string]func(args []string) string{}

var lab *labs.Lab

func TestMain(m *testing.M) {
	if name := os.Getenv("BERTH_PROBE"); name != "" {
		fmt.Println(probes[name](os.Args[1:]))
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	if err := os.Setenv("BERTH_LAB_TRANSPORT", "direct"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if lab, err = labs.Raise(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err = installProbe(lab); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return lab.Close(1)
	}
	return lab.Close(m.Run())
}

// installProbe puts this program where the lab's users, and the container's, find it.
func installProbe(l *labs.Lab) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(l.Dir, "home", "probe"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// runProbe runs one as user on the lab's host and returns what it says.
func runProbe(t *testing.T, l *labs.Lab, user, name string, args ...string) string {
	t.Helper()
	argv := append([]string{"env", "BERTH_PROBE=" + name, "/home/probe"}, args...)
	cmd := l.AsUser(user, argv...)
	if user == "root" {
		cmd = l.Command(argv...)
	}
	return outputOf(t, cmd)
}

func outputOf(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	r := labs.Finish(cmd)
	if r.Status != 0 {
		t.Fatalf("%q: %+v", cmd.Args, r)
	}
	return strings.TrimSpace(r.Out)
}

// client is the other end of a session, written for the test.
type client struct{ *lifeline.Conn }

func dial(path string) (client, error) {
	line, err := lifeline.Dial(path, 5*time.Second)
	if err != nil {
		return client{}, err
	}
	return client{line}, line.SetDeadline(time.Now().Add(30 * time.Second))
}

// ask sends a frame and returns what comes back, in words.
func (c client) ask(kind lifeline.Kind, body []byte, fds ...int) (lifeline.Kind, string) {
	// Who is refused may find the other end closed, and its words in the queue.
	sent := c.Send(kind, body, fds...)
	got, words := c.receive()
	if got == 0 && sent != nil {
		words = sent.Error()
	}
	return got, words
}

func (c client) receive() (lifeline.Kind, string) {
	kind, body, err := c.Recv(lifeline.MaxReply)
	switch {
	case err != nil:
		return 0, err.Error()
	case kind == lifeline.Failure:
		r, err := lifeline.UnpackRefusal(body)
		return kind, fmt.Sprintf("refused: %s | %s %v", r.User, r.Cause, err)
	}
	return kind, string(body)
}

// hello takes a connection to where it may be asked for something, or returns
// why it does not come there.
func (c client) hello() string {
	if kind, words := c.ask(lifeline.Hello, nil); kind != lifeline.Ready {
		return words
	}
	if err := c.Send(lifeline.Identity, identityBody); err != nil {
		return err.Error()
	}
	return ""
}

// identityBody is what a client says of itself: nothing of it is believed of others.
var identityBody = lifeline.Names{User: "mallory", Home: "/", Shells: []string{"/bin/sh"}, Groups: map[uint32]string{27: "sudo"}}.Pack()

func command(text string) []byte {
	return lifeline.StartRequest{Kind: lifeline.CommandRequest, Command: text, Umask: 0o022, Env: []string{"PATH=/usr/bin:/bin"}}.Pack()
}

// session has the container run a command over an open connection, and returns
// its output, or why there is none.
func (c client) session(text string) string {
	if words := c.hello(); words != "" {
		return words
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return err.Error()
	}
	if kind, words := c.ask(lifeline.Start, command(text), null, ends[1], ends[1]); kind != lifeline.Started {
		return words
	}
	unix.Close(ends[1])
	out, err := io.ReadAll(os.NewFile(uintptr(ends[0]), "output"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

func init() {
	probes["session"] = func(args []string) string {
		c, err := dial(args[0])
		if err != nil {
			return err.Error()
		}
		return c.session(args[1])
	}
}

// state is what must be as before when all sessions have ended.
type state struct {
	Processes int // in the container
	FDs       int // of the keeper and the server
	Ptys      int
	Files     int // in the shared directories
}

func currentState(t *testing.T, l *labs.Lab) state {
	t.Helper()
	var s state
	first, server := serving(t, l)
	for _, pid := range []int{first, server} {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		s.FDs += len(fds)
	}
	s.Processes = len(inContainer(l))
	ptys, _ := os.ReadDir(fmt.Sprintf("/proc/%d/root/dev/pts", first))
	s.Ptys = len(ptys)
	for _, dir := range []string{"serve", "lifeline"} {
		entries, _ := os.ReadDir(l.Path(dir))
		s.Files += len(entries)
		if _, err := os.Lstat(filepath.Join(l.Path(dir), paths.Lease)); err == nil {
			s.Files-- // the first login makes it
		}
	}
	return s
}

func (s state) String() string { text, _ := json.Marshal(s); return string(text) }

// inContainer returns the container's processes, by their pids on the host, with
// their arguments. The engine is not asked: it may be gone.
func inContainer(l *labs.Lab) map[int]string {
	found := map[int]string{}
	shared, err := filepath.EvalSymlinks(l.Path("serve"))
	if err != nil {
		return found // it is gone
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		pid := 0
		if _, err := fmt.Sscan(entry.Name(), &pid); err != nil {
			continue
		}
		mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if strings.Contains(string(mounts), shared+" "+paths.Serve+" ") {
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			found[pid] = strings.ReplaceAll(string(args), "\x00", " ")
		}
	}
	return found
}

// keeper asks the first process of the lab's container.
func keeper(l *labs.Lab) control.Keeper { return control.At(l.Path("serve")) }

// serving returns the pids, on this host, of the keeper and of the server that
// serves. Both servers run by then.
func serving(t *testing.T, l *labs.Lab) (keeperPID, server int) {
	t.Helper()
	labs.Eventually(t, 10*time.Second, func() (bool, string) {
		c, err := keeper(l).Count()
		if err != nil || c.Server == 0 || c.Standby == 0 || c.Spawner == 0 {
			return false, fmt.Sprint(c, err)
		}
		keeperPID, server = c.PID, hostPID(l, c.PID, c.Server)
		return server != 0, fmt.Sprint(c)
	})
	return keeperPID, server
}

// hostPID returns the pid on this host of what has pid inside below the process
// parent of this host.
func hostPID(l *labs.Lab, parent, inside int) int {
	for pid, args := range inContainer(l) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if strings.Contains(args, "/berth-") && regexp.MustCompile(fmt.Sprintf(`(?m)^PPid:\s%d$`, parent)).Match(status) &&
			regexp.MustCompile(fmt.Sprintf(`(?m)^NSpid:.*\s%d$`, inside)).Match(status) {
			return pid
		}
	}
	return 0
}

// awaitState waits until the lab is as it was.
func awaitState(t *testing.T, l *labs.Lab, before state) {
	t.Helper()
	labs.Eventually(t, 30*time.Second, func() (bool, string) {
		now := currentState(t, l)
		return now == before, fmt.Sprintf("before %v, now %v: %v", before, now, inContainer(l))
	})
}

// logInOnce opens a first session of each, for PAM to record their names.
func logInOnce(t *testing.T, l *labs.Lab, users ...string) {
	t.Helper()
	for _, user := range users {
		if r := labs.Finish(l.SSH(user, "true")); r.Status != 0 {
			log, _ := os.ReadFile(l.Path("log"))
			t.Fatalf("%s: %+v\n%+v\nthe container says:\n%s\nthe host says:\n%s", user, r, l.Try("berth", "status"), lastLines(containerLog(t, l)), lastLines(string(log)))
		}
	}
}

// lastLines are enough to tell what has gone wrong last.
func lastLines(text string) string { return text[max(0, len(text)-4000):] }

// stableState waits until the supervisors that wait for sessions are all there, and
// returns the state then.
func stableState(t *testing.T, l *labs.Lab) state {
	t.Helper()
	last, same := state{}, 0
	labs.Eventually(t, 30*time.Second, func() (bool, string) {
		now := currentState(t, l)
		if now != last {
			last, same = now, 0
		}
		same++
		return same > 10, now.String()
	})
	return last
}
