// SPDX-License-Identifier: Apache-2.0

package sessionlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func read(t *testing.T, conn net.Conn) string {
	t.Helper()
	buf := make([]byte, 1<<20)
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// decode reads the journal's protocol.
func decode(t *testing.T, data string) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for b := []byte(data); len(b) > 0; {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		if name, value, simple := bytes.Cut(line, []byte("=")); simple {
			fields[string(name)], b = string(value), rest
			continue
		}
		size := binary.LittleEndian.Uint64(rest)
		fields[string(line)] = string(rest[8 : 8+size])
		if rest[8+size] != '\n' {
			t.Fatalf("%q does not end", line)
		}
		b = rest[9+size:]
	}
	return fields
}

var example = []field{{"event", "requested", false}, {"id", "0badcafe", true}, {"user", "alice", true}, {"image", "berth", false},
	{"command", "a\nMESSAGE=forged\n", true}, {"tty", "", true}}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	conn := listen(t, dir+"/journal")
	s := &sink{journal: dir + "/journal", syslog: dir + "/none"}
	s.send(info, example)
	got := decode(t, read(t, conn))
	want := map[string]string{
		"MESSAGE":  `session requested id=0badcafe user=alice command="a\nMESSAGE=forged\n"`,
		"PRIORITY": "6", "SYSLOG_FACILITY": "10", "SYSLOG_IDENTIFIER": "berth-session",
		"BERTH_EVENT": "requested", "BERTH_ID": "0badcafe", "BERTH_USER": "alice", "BERTH_IMAGE": "berth", "BERTH_COMMAND": "a\nMESSAGE=forged\n",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	// The longest command that execve(2) lets through is whole.
	long := strings.Repeat("x\n", 64<<10)
	s.send(info, []field{{"command", long, true}})
	if got := decode(t, read(t, conn)); got["BERTH_COMMAND"] != long || len(got["MESSAGE"]) > 4200 {
		t.Errorf("%d bytes of %d; message of %d", len(got["BERTH_COMMAND"]), len(long), len(got["MESSAGE"]))
	}
	// One that the socket does not take is cut.
	s.send(info, []field{{"command", strings.Repeat("x", 1<<20), true}})
	if got := decode(t, read(t, conn)); len(got["BERTH_COMMAND"]) != excerptSize+3 {
		t.Errorf("%d bytes", len(got["BERTH_COMMAND"]))
	}
}

const syslogForm = `^<86>\w{3} [ \d]\d \d\d:\d\d:\d\d berth-session\[%d\]: session requested id=0badcafe user=alice command="a\\nMESSAGE=forged\\n"$`

func TestSyslog(t *testing.T) {
	dir := t.TempDir()
	conn := listen(t, dir+"/log")
	(&sink{journal: dir + "/none", syslog: dir + "/log"}).send(info, example)
	if got := read(t, conn); !regexp.MustCompile(fmt.Sprintf(syslogForm, os.Getpid())).MatchString(got) {
		t.Errorf("%q", got)
	}
	listener, err := net.Listen("unix", dir+"/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	(&sink{journal: dir + "/none", syslog: dir + "/stream"}).send(info, example)
	stream, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if got := strings.TrimSuffix(read(t, stream), "\n"); !regexp.MustCompile(fmt.Sprintf(syslogForm, os.Getpid())).MatchString(got) {
		t.Errorf("stream: %q", got)
	}
}

// A log that does not read holds nobody for long, and neither does none.
func TestLogThatDoesNotRead(t *testing.T) {
	dir := t.TempDir()
	listen(t, dir+"/log")
	s := &sink{journal: dir + "/none", syslog: dir + "/log"}
	full := false
	for range 10000 {
		start := time.Now()
		s.send(info, example)
		if took := time.Since(start); took > patience/2 {
			full = true
			if took > 4*patience {
				t.Errorf("a line took %v", took)
			}
			break
		}
	}
	if !full {
		t.Error("the queue has no end: the test shows nothing")
	}
	(&sink{journal: dir + "/none", syslog: dir + "/none"}).send(info, example)
}

// The fingerprint is what ssh-keygen says.
func TestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("ssh-keygen", "-l", "-f", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	info := path + ".info"
	for text, want := range map[string]string{
		"publickey " + string(public):                  strings.Fields(string(said))[1],
		"password\npublickey " + string(public) + "\n": strings.Fields(string(said))[1],
		"password\n":                "",
		"publickey ssh-ed25519 !\n": "",
		"":                          "",
	} {
		if err := os.WriteFile(info, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := key(info); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if err := os.Symlink(path+".pub", path+".link"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", path + ".none", path + ".link", "/dev/zero"} {
		if got := key(path); got != "" {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// Whatever a client asks for, it stays one line, and its own field.
func FuzzLine(f *testing.F) {
	f.Add("a\nb", "SHA256:x")
	f.Add("\" id=forged", "=\\")
	f.Fuzz(func(t *testing.T, command, user string) {
		fields := []field{{"event", "requested", false}, {"id", "0badcafe", true}, {"user", user, true}, {"command", command, true}}
		if line := text(fields); strings.ContainsAny(line, "\n\r\x00\x1b") || strings.Count(line, "session requested id=0badcafe") != 1 && !strings.Contains(command+user, "session") {
			t.Errorf("%q", line)
		}
		got := decode(t, string(entry(info, fields)))
		if got["BERTH_COMMAND"] != command || got["BERTH_USER"] != user || got["BERTH_ID"] != "0badcafe" {
			t.Errorf("%q", got)
		}
	})
}
