// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test's program stands for what runs on the host: for a session's berth-session, which
// connects (the variable's value is the path), and for a process of the user's that listens there.
func TestMain(m *testing.M) {
	switch os.Getenv("AGENT_TEST") {
	case "connect":
		f, err := Connect(os.Getenv(Variable))
		if err == nil {
			_, err = io.WriteString(f, "hello")
		}
		fmt.Println(err)
		os.Exit(0)
	case "listen":
		_, err := net.Listen("unix", os.Getenv(Variable))
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// listen makes a socket of this process's, which says what it has got from each caller.
func listen(t *testing.T, path string) <-chan string {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(conn)
			conn.Close()
			got <- string(text)
		}
	}()
	return got
}

// connect has a child of this process connect to path, through a shell that stays its parent.
func connect(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", `"$1"; true`, "sh", os.Args[0])
	cmd.Env = append(os.Environ(), "AGENT_TEST=connect", Variable+"="+path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// A socket on which an ancestor listens is connected to; no other gets a byte.
func TestNoOtherSocket(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	got := listen(t, at("own"))
	if said := connect(t, at("own")); said != "<nil>" {
		t.Fatalf("an ancestor's: %s", said)
	}
	if text := <-got; text != "hello" {
		t.Fatalf("an ancestor's: got %q", text)
	}

	// A process of the same user that is no ancestor.
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "AGENT_TEST=listen", Variable+"="+at("other"))
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = other.Wait() }()
	listens := make([]byte, len("<nil>\n"))
	if _, err := io.ReadFull(out, listens); err != nil || string(listens) != "<nil>\n" {
		t.Fatalf("%q, %v", listens, err)
	}

	write := func(name string) string {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	link := func(to, name string) string {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	link(dir, "dir")
	for name, path := range map[string]string{
		"another process": at("other"), "a link": link(at("own"), "link"), "a linked directory": at("dir/own"),
		"a file": write("file"), "nothing": at("nothing"), "a directory": dir, "magic": fmt.Sprintf("/proc/%d/root%s", os.Getpid(), at("own")),
		"empty": "", "relative": "own", "abstract": "@own", "not clean": dir + "/./own", "too long": "/" + strings.Repeat("x", 200),
		"a control character": at("own") + "\n", "its directory goes on": at("own") + "/",
	} {
		if said := connect(t, path); !strings.Contains(said, "agent: ") {
			t.Errorf("%s: %s", name, said)
		}
	}
	// Callers are served in their order: if somebody else has come, that is said first.
	if said := connect(t, at("own")); said != "<nil>" {
		t.Fatalf("once more: %s", said)
	}
	if text := <-got; text != "hello" {
		t.Errorf("somebody came by another way, and said %q", text)
	}
}

// The number of a listener that has ended says nothing: it may be an ancestor's by now.
func TestListenerThatHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	// The child listens, and its socket stays with this process.
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { unix.Close(fd); unix.Close(ends[0]); unix.Close(ends[1]) }()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("python3", "-c", "import socket; socket.socket(fileno=3).listen(5)")
	child.ExtraFiles = []*os.File{os.NewFile(uintptr(dup(t, fd)), "socket")}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	if err := unix.Connect(client, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.GetsockoptInt(client, unix.SOL_SOCKET, unix.SO_PEERPIDFD); errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("this kernel has no SO_PEERPIDFD (Linux 6.5)")
	}
	if err := checkAlive(client); !errors.Is(err, ErrNotOurs) {
		t.Errorf("%v", err)
	}
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestInHome(t *testing.T) {
	for path, want := range map[string]bool{
		"/home/alice/.ssh/agent/s.x": true, "/home/alice": false, "/home/alicee/s": false, "/home/alice/../bob/s": false,
		"home/alice/s": false, "": false, "/home/alice/a\nb": false, "/tmp/ssh-x/agent.1": false, "/home/alice//s": false,
	} {
		if InHome(path, "/home/alice") != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
	if InHome("/run/x", "/") || InHome("/run/x", "") {
		t.Error("a home that holds everything")
	}
}

// served is a socket whose callers come to an echo.
func served(t *testing.T, answer func(*os.File)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 128)); err != nil {
		t.Fatal(err)
	}
	if err := Serve(fd, func() (*os.File, error) {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		go answer(os.NewFile(uintptr(ends[1]), "agent"))
		return os.NewFile(uintptr(ends[0]), "agent"), nil
	}); err != nil {
		t.Fatal(err)
	}
	return path
}

// Many at once, more than are served at a time; big answers; a caller that has said all and
// waits for the answer; and one that brings descriptors, which nobody gets.
func TestServe(t *testing.T) {
	path := served(t, func(f *os.File) {
		text, _ := io.ReadAll(f) // until the caller's half is closed
		_, _ = f.Write(text)
		f.Close()
	})
	open := openFiles(t)
	var all sync.WaitGroup
	for i := range 3 * maxCallers {
		all.Go(func() {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Error(err)
			}
			want := bytes.Repeat([]byte{byte(i)}, 300<<10)
			unixConn := conn.(*net.UnixConn)
			if _, _, err := unixConn.WriteMsgUnix(want[:1], unix.UnixRights(1, 1), nil); err != nil {
				t.Error(err)
			}
			if _, err := conn.Write(want[1:]); err != nil {
				t.Error(err)
			}
			if err := unixConn.CloseWrite(); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(conn); err != nil || !slices.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
	for end := time.Now().Add(10 * time.Second); openFiles(t) > open+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, and were %d", openFiles(t), open)
		}
	}
}

// Another user's process is not served, even where it can reach the socket.
func TestServeOtherUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	path := served(t, func(f *os.File) {
		_, _ = io.WriteString(f, "served")
		f.Close()
	})
	for p := path; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[uint32]string{0: "served", 65534: ""} {
		cmd := exec.Command("perl", "-MSocket", "-e", `socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; connect($s, pack_sockaddr_un($ARGV[0])) or die "$!"; print <$s>`, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("uid %d: %q, %v", uid, out, err)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A caller whose agent is not there learns it, and so does one whose agent goes.
func TestAgentGone(t *testing.T) {
	path := served(t, func(f *os.File) {
		_, _ = f.Read(make([]byte, 1))
		f.Close()
	})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
}

// What comes in place of a listener is refused.
func TestServeOtherDescriptors(t *testing.T) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(tcp, 1); err != nil {
		t.Fatal(err)
	}
	quiet, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, fd := range map[string]int{"a device": null, "tcp": tcp, "does not listen": quiet, "packets": packets} {
		if err := Serve(fd, nil); err == nil {
			t.Errorf("%s: served", name)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("%s: is still open: %v", name, err)
		}
	}
}
