// SPDX-License-Identifier: Apache-2.0

// Package forward is about ports: sshd's own forwarding, by several clients, ends in the
// container of the user, and nowhere else.
package forward

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

const patience = labs.Patience

// lab is a lab whose users may forward all that berth allows.
type lab struct {
	*labs.Lab
	name string
}

const forwards = "[session]\nforward = [\"local\", \"remote\", \"agent\"]\n"

// kinds are the labs that each test is run in. PAM finds the container's network in another way in each.
var kinds = []struct{ name, config string }{
	{"shared", "transport = \"auto\"\n"},
	{"exec", "transport = \"exec\"\n"},
	{"user", "transport = \"direct\"\nmode = \"user\"\n"},
}

var (
	all []lab
	rig string // the path of the program ./rig
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "berth-forward")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	rig = filepath.Join(dir, "rig")
	build := exec.Command("go", "build", "-o", rig, "./rig")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		return 1
	}
	status := 0
	for _, kind := range kinds {
		l, err := raise(dir, kind.name, kind.config+forwards)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
			break
		}
		all = append(all, l)
	}
	if status == 0 {
		status = m.Run()
	}
	for _, l := range all {
		status = l.Close(status)
	}
	return status
}

func raise(dir, name, config string) (lab, error) {
	file := filepath.Join(dir, name+".toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return lab{}, err
	}
	raised, err := labs.Raise("--config", file)
	if err != nil {
		return lab{}, err
	}
	l := lab{raised, name}
	for _, user := range []string{"alice", "bob", "admin"} {
		r := labs.Finish(l.Command("install", "-o", user, "-g", user, "-m", "755", rig, "/home/"+user+"/rig"))
		if r.Status != 0 {
			_ = l.Close(1)
			return lab{}, fmt.Errorf("install the rig: %+v", r)
		}
	}
	return l, nil
}

// each runs a test in every lab.
func each(t *testing.T, test func(*testing.T, lab)) {
	t.Helper()
	for _, l := range all {
		t.Run(l.name, func(t *testing.T) { test(t, l) })
	}
}

// eachNew runs a test in a lab of its own of every kind: it breaks something there.
func eachNew(t *testing.T, test func(*testing.T, lab)) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			l, err := raise(t.TempDir(), kind.name, kind.config+forwards)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Down)
			test(t, l)
		})
	}
}

// serve has the rig serve in a session of user's, until the test ends, and returns where. For
// the administrator that is the host.
func (l lab) serve(t testing.TB, user, what, address string) string {
	t.Helper()
	_, out := labs.StartWithPipes(t, l.SSH(user, "exec ./rig "+what+" "+address))
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("the rig of %s does not serve: %v", user, err)
	}
	return strings.TrimSpace(line)
}

// background runs an ssh client until the test ends.
func background(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%q: %s", cmd.Args, log.String())
		}
	})
}

// nextPort counts the ports that clients of tests listen at. They are below the range from which the kernel
// gives ports, so nobody else gets one.
var nextPort = 19000

// freePort is an address of this machine's loopback with a port that nobody has.
func freePort(t testing.TB) string {
	t.Helper()
	for range 500 {
		nextPort++
		address := fmt.Sprintf("127.0.0.1:%d", nextPort)
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// connect waits until somebody listens.
func connect(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	var conn net.Conn
	labs.Eventually(t, patience, func() (bool, string) {
		var err error
		conn, err = net.Dial("tcp", address)
		return err == nil, fmt.Sprint(err)
	})
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// talk sends nothing, and returns all that it gets.
func talk(conn *net.TCPConn) string {
	defer conn.Close()
	_ = conn.CloseWrite()
	text, _ := io.ReadAll(conn)
	return string(text)
}

// greeting is what `rig serve` sends to a client that sends nothing.
const greeting = "inside\n0 bytes\n"

// greeter is a service of this host that says "outside".
func greeter(t testing.TB, network, address string) string {
	t.Helper()
	return labs.Greeter(t, network, address, "outside")
}
