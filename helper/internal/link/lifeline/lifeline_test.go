// SPDX-License-Identifier: Apache-2.0

package lifeline

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"berth/helper/internal/link/loginerror"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err = New(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err = New(fds[1])
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, c := range []*Conn{a, b} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	return a, b
}

func TestFramesAndDescriptors(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	large := bytes.Repeat([]byte("x"), 700<<10) // more than a socket holds
	sent := make(chan error, 1)
	go func() {
		sent <- errors.Join(a.Send(Start, large, int(w.Fd()), int(w.Fd()), int(w.Fd())), a.Send(Signal, []byte{15}))
		w.Close()
	}()
	kind, body, err := b.Recv(MaxStart)
	if err != nil || kind != Start || !bytes.Equal(body, large) {
		t.Fatalf("%q, %d bytes, %v", kind, len(body), err)
	}
	fds := b.TakeFDs()
	if len(fds) != 3 {
		t.Fatalf("%d descriptors", len(fds))
	}
	if _, err := unix.Write(fds[2], []byte("through")); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	if kind, body, err := b.Recv(1); err != nil || kind != Signal || body[0] != 15 {
		t.Fatalf("%q %v %v", kind, body, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "through" {
		t.Fatalf("%q %v", text, err)
	}
	a.Close()
	if _, _, err := b.Recv(1); !errors.Is(err, io.EOF) {
		t.Fatalf("after close: %v", err)
	}
}

func TestTooLongAndTooLate(t *testing.T) {
	a, b := pair(t)
	if err := a.Send(Start, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Recv(99); !errors.Is(err, ErrTooLong) {
		t.Fatalf("too long: %v", err)
	}
	if err := a.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Recv(10); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("too late: %v", err)
	}
}

// The kernel's word counts, with more groups than the first guess has room for.
func TestPeer(t *testing.T) {
	old, err := unix.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	many := make([]int, 200)
	for i := range many {
		many[i] = 5000 + i
	}
	if err := unix.Setgroups(many); err != nil {
		t.Skip("needs root to set groups")
	}
	defer func() { _ = unix.Setgroups(old) }()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	path := filepath.Join(t.TempDir(), "s")
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	line, err := Dial(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	peer, err := line.Peer()
	if err != nil || peer.UID != uint32(os.Getuid()) || len(peer.Groups) != 200 || peer.Groups[199] != 5199 {
		t.Fatalf("%+v, %v", peer, err)
	}
	far, err := Accept(fd, time.Now().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	if _, err := Accept(fd, time.Now().Add(10*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nobody came: %v", err)
	}
}

func TestMessages(t *testing.T) {
	names := Names{User: "alice", Gecos: "A\xff", Home: "/home/alice", Shells: []string{"/bin/zsh", "/bin/sh"},
		Groups: map[uint32]string{1001: "alice", 4294967295: "x:y"}}
	if got, err := UnpackNames(names.Pack()); err != nil || !reflect.DeepEqual(got, names) {
		t.Errorf("names: %+v, %v", got, err)
	}
	start := StartRequest{ID: "0123abcd-4567cdef", Agent: true, Kind: CommandRequest, Command: "a\nb\x01=", SFTP: []string{"/x"}, Env: []string{"A=b=c"}, Umask: 0o027,
		Limits: []Limit{{7, 1024, 1<<64 - 1}}, TTY: true, Termios: []byte{1, 2}, Rows: 24, Cols: 80, XPixels: 1, YPixels: 65535}
	if got, err := UnpackStart(start.Pack()); err != nil || !reflect.DeepEqual(got, start) {
		t.Errorf("start: %+v, %v", got, err)
	}
	for _, e := range []Ending{{Status: 42}, {Signal: 15}} {
		if got, err := UnpackEnding(e.Pack()); err != nil || got != e {
			t.Errorf("ending: %+v, %v", got, err)
		}
	}
	if _, err := UnpackEnding(Ending{Status: 256}.Pack()); !errors.Is(err, ErrMalformed) {
		t.Errorf("status 256: %v", err)
	}
	refusal := &loginerror.Refusal{Status: 127, User: "no shell", Cause: errors.New("cause")}
	if got, err := UnpackRefusal(PackRefusal(refusal)); err != nil || !reflect.DeepEqual(got, refusal) {
		t.Errorf("refusal: %+v, %v", got, err)
	}
	refusal.Denied = true
	if got, err := UnpackRefusal(PackRefusal(refusal)); err != nil || !got.Denied || got.Wanted {
		t.Errorf("denied: %+v, %v", got, err)
	}
	// berth-init makes this one (tell.c).
	ended := Pack([]Field{{"status", "255"}, {"user", "go home"}, {"cause", "x"}, {"ended", "administrator"}})
	if got, err := UnpackRefusal(ended); err != nil || got.Denied || !got.Wanted || got.User != "go home" {
		t.Errorf("ended: %+v, %v", got, err)
	}
	if got, err := UnpackNotice(PackNotice("noon")); err != nil || got != "noon" {
		t.Errorf("notice: %q, %v", got, err)
	}
	if _, err := UnpackNotice(nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("an empty notice: %v", err)
	}
}

// A guest says what it takes and where it is, one of before says less or nothing, and one of later
// may say more.
func TestReady(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		want Guest
	}{
		"nothing":         {nil, Guest{}},
		"before networks": {Pack([]Field{{"takes", "id"}}), Guest{TakesID: true}},
		"all":             {Guest{true, true, 4026532245}.Pack(), Guest{true, true, 4026532245}},
		"an old keeper":   {Guest{false, true, 1}.Pack(), Guest{false, true, 1}},
		"later":           {Pack([]Field{{"takes", "wings"}, {"net", "7"}, {"mood", "good"}}), Guest{Net: 7}},
	} {
		a, b := pair(t)
		if err := b.Send(Ready, c.body); err != nil {
			t.Fatal(err)
		}
		if err := a.AskReady(Hello, nil); err != nil || a.Guest() != c.want {
			t.Errorf("%s: %+v, %v", name, a.Guest(), err)
		}
	}
	// With nothing else in it, it is what older versions send.
	if body := (Guest{TakesID: true}).Pack(); !bytes.Equal(body, []byte("\x00\x00\x00\x08takes=id")) {
		t.Errorf("%q", body)
	}
	for _, net := range []string{"", "-1", "x", "99999999999999999999"} {
		if g, err := UnpackGuest(Pack([]Field{{"net", net}})); !errors.Is(err, ErrMalformed) {
			t.Errorf("net %q: %+v, %v", net, g, err)
		}
	}
	// A guest of before would not take a Start that has what it has not asked for.
	if body := (StartRequest{}).Pack(); bytes.Contains(body, []byte("id=")) || bytes.Contains(body, []byte("agent=")) {
		t.Errorf("%q", body)
	}
}

// What a session of before gets is what it knows.
func TestStarted(t *testing.T) {
	if body := (StartedReply{TTY: "/dev/pts/1"}).Pack(); !bytes.Equal(body, Pack([]Field{{"tty", "/dev/pts/1"}})) {
		t.Errorf("%q", body)
	}
	for _, want := range []StartedReply{{}, {TTY: "/dev/pts/1"}, {NoAgent: "no room"}} {
		if got, err := UnpackStarted(want.Pack()); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, fields := range [][]Field{nil, {{"x", ""}}, {{"tty", ""}, {"x", ""}}, {{"tty", ""}, {"no-agent", "x"}, {"x", ""}}} {
		if got, err := UnpackStarted(Pack(fields)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %+v, %v", fields, got, err)
		}
	}
}

// No body makes a decoder fail in any way but ErrMalformed.
func FuzzUnpack(f *testing.F) {
	f.Add(StartRequest{Kind: ShellRequest, Env: []string{"A=b"}}.Pack())
	f.Add(Names{User: "a", Groups: map[uint32]string{1: "b"}}.Pack())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'a'})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, nerr := UnpackNames(body)
		_, serr := UnpackStart(body)
		_, eerr := UnpackEnding(body)
		_, rerr := UnpackRefusal(body)
		_, terr := UnpackNotice(body)
		_, gerr := UnpackGuest(body)
		_, aerr := UnpackStarted(body)
		for _, err := range []error{nerr, serr, eerr, rerr, terr, gerr, aerr} {
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%v", err)
			}
		}
		if fields, err := Unpack(body); err == nil && !bytes.Equal(Pack(fields), body) {
			t.Errorf("%q does not survive", body)
		}
	})
}
