// SPDX-License-Identifier: Apache-2.0

package life

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/helper/internal/admin/control"
	"berth/test/labs"
)

// conversation is a session that repeats what it is told.
type conversation struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func (l life) converse(t *testing.T, user string) conversation {
	t.Helper()
	c := conversation{}
	c.in, c.out = labs.StartWithPipes(t, l.ssh(user, "cat"))
	c.goesOn(t, "the first word")
	return c
}

func (c conversation) goesOn(t *testing.T, word string) {
	t.Helper()
	_, err := fmt.Fprintln(c.in, word)
	answer, rerr := c.out.ReadString('\n')
	if err != nil || rerr != nil || answer != word+"\n" {
		t.Fatalf("the session says %q, %v, %v", answer, err, rerr)
	}
}

// Whoever has a container does not notice that the engine stops, starts or hangs; whoever has none is told at once.
func TestEngineRestarts(t *testing.T) {
	const timeout, slack = 8 * time.Second, 8 * time.Second
	e := labs.NewEngine(t, `{"live-restore": true}`)
	l := begin(t, e.Socket, "", "idle = \"2s\"\n")
	l.works(t, "bob")
	session := l.converse(t, "alice")
	started := l.engine(t, "inspect", "-f", "{{.State.StartedAt}}", l.container(t, "alice"))
	check := func(when string) {
		t.Helper()
		results := make(chan labs.Result, 1)
		start := time.Now()
		go func() { results <- l.login("carol", "id -un") }()
		session.goesOn(t, when)
		l.works(t, "alice", "bob")
		l.refused(t, <-results, "connect again")
		if took := time.Since(start); took > timeout+slack {
			t.Errorf("%s: it took %v", when, took)
		}
	}
	e.Stop()
	check("stopped")
	e.Start()
	session.goesOn(t, "started")
	l.works(t, "carol", "alice", "bob")
	l.remove(t, l.container(t, "carol"))
	e.Signal(syscall.SIGSTOP)
	check("hung")
	e.Signal(syscall.SIGCONT)
	session.goesOn(t, "goes on")
	l.works(t, "carol")
	e.Kill()
	l.works(t, "alice", "carol")
	e.Start()
	session.goesOn(t, "after a crash")
	l.works(t, "alice", "bob", "carol")
	if now := l.engine(t, "inspect", "-f", "{{.State.StartedAt}}", l.container(t, "alice")); now != started {
		t.Errorf("alice's container was started at %s, and then at %s", started, now)
	}
	// The engine notices ends that it has not seen begin.
	l.awaitState(t, l.container(t, "carol"), "exited 0 0")
	l.works(t, "carol")
}

// keeperPID is the first process of a user's container, on this host.
func keeperPID(dir string) (pid, server int) {
	count, err := control.At(dir).Count()
	if err != nil {
		return 0, 0
	}
	return count.PID, count.Server
}

// Whatever dies while users log in: each login works, or ends with one line; none is on the host, none hangs.
func TestDeathsDuringLogins(t *testing.T) {
	const logins, users = 50, 5
	l := begin(t, "", "", "")
	names := l.addUsers(t, users)
	l.works(t, names...)
	dirs := map[string]string{}
	for _, user := range names {
		dirs[user] = l.dir(t, user)
	}
	var mu sync.Mutex
	results := map[string]int{}
	login := func(user string) {
		r := l.login(user, "[ -e /etc/berth/berth.toml ] && echo HOST; id -un")
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Status == 0 && r.Out == user+"\n" && r.Err == "":
			results["worked"]++
		case (r.Out == "" || r.Out == user+"\n") && r.Status == 255 && oneLine.MatchString(r.Err):
			_, line, _ := strings.Cut(strings.Split(r.Err, " (id")[0], ": ")
			results[line]++
		default:
			t.Errorf("%s: %+v", user, r)
		}
	}
	done := make(chan struct{})
	var killer, all sync.WaitGroup
	killed := map[string]int{}
	killer.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(rand.IntN(400)) * time.Millisecond):
			}
			user := names[rand.IntN(users)]
			keeper, server := keeperPID(dirs[user])
			switch kind := []string{"keeper", "server", "container"}[n%3]; {
			case kind == "keeper" && keeper != 0:
				_ = syscall.Kill(keeper, syscall.SIGKILL)
				killed[kind]++
			case kind == "server" && server != 0:
				if pid := insidePID(keeper, server); pid != 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					killed[kind]++
				}
			case kind == "container":
				_ = exec.Command("docker", "rm", "-f", filepath.Base(dirs[user])).Run()
				killed[kind]++
			}
		}
	})
	for _, user := range names {
		all.Go(func() {
			for range logins / users {
				login(user)
			}
		})
	}
	all.Wait()
	close(done)
	killer.Wait()
	t.Logf("killed: %v; logins: %v", killed, results)
	if results["worked"] == 0 || killed["keeper"] == 0 || killed["container"] == 0 {
		t.Error("it shows nothing")
	}
	l.works(t, names...)
}

// insidePID returns the pid, on this host, of a child of the keeper's that is pid in the container; 0: it has gone.
func insidePID(keeper, pid int) int {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", keeper))
	for _, child := range strings.Fields(string(children)) {
		status, _ := os.ReadFile("/proc/" + child + "/status")
		if m := regexp.MustCompile(`(?m)^NSpid:.*\t(\d+)$`).FindStringSubmatch(string(status)); m != nil && m[1] == strconv.Itoa(pid) {
			n, _ := strconv.Atoi(child)
			return n
		}
	}
	return 0
}

// A crash brings a container back, without a login; an idle end does not.
func TestCrashComesBack(t *testing.T) {
	l := begin(t, "", "", "idle = \"3s\"\n")
	name := l.container(t, "alice")
	session := l.converse(t, "alice")
	keeper, _ := keeperPID(l.dir(t, "alice"))
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.awaitState(t, name, "running 0 1")
	if answer, err := session.out.ReadString('\n'); err != io.EOF {
		t.Errorf("the session of before says %q, %v", answer, err)
	}
	l.works(t, "alice")
	l.awaitState(t, name, "exited 0 1")
	l.works(t, "alice")
	l.awaitState(t, name, "exited 0 0")
}

// A client that is connected while its container ends is told to connect again, and that helps.
func TestConnectedWhileContainerEnds(t *testing.T) {
	e := labs.NewEngine(t, "{}") // its containers end with it
	l := begin(t, e.Socket, "", "")
	name := l.container(t, "alice")
	for what, end := range map[string]func(){
		"killed":             func() { l.engine(t, "kill", name) },
		"removed":            func() { l.remove(t, name) },
		"the engine stopped": func() { e.Stop(); e.Start() },
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master")
			master := l.ssh("alice", "true", "-M", "-S", path, "-o", "ControlPersist=yes", "-f")
			if r := labs.Finish(master); r.Status != 0 {
				t.Fatalf("%+v", r)
			}
			defer func() { _ = labs.Finish(l.ssh("alice", "true", "-S", path, "-O", "exit")) }()
			over := func() labs.Result { return labs.Finish(l.ssh("alice", "id -un", "-S", path)) }
			if r := over(); r.Out != "alice\n" {
				t.Fatalf("before: %+v", r)
			}
			end()
			l.refused(t, over(), "your container does not run; connect again")
			l.works(t, "alice")
			// It is the same place, so that helps the old connection, too.
			if r := over(); r.Out != "alice\n" {
				t.Errorf("after: %+v", r)
			}
		})
	}
}
