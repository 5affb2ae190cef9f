// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"berth/test/labs"
)

// record waits until the session with mark in its command has an end, and returns
// its lines.
func (l *Lab) record(t *testing.T, mark string) (lines []labs.Line) {
	t.Helper()
	eventually(t, patience, func() (bool, string) {
		lines = nil
		id := ""
		for _, line := range l.Record() {
			if line.Event == "requested" && strings.Contains(line.Fields["command"], mark) {
				id = line.Fields["id"]
			}
			if id != "" && line.Fields["id"] == id {
				lines = append(lines, line)
			}
		}
		last := ""
		if len(lines) > 0 {
			last = lines[len(lines)-1].Event
		}
		return last == "ended" || last == "lost" || last == "failed" || last == "refused", fmt.Sprintf("%+v", lines)
	})
	return lines
}

// A session whose berth-session is killed is lost: root writes that at the
// connection's end. One whose client goes has ended, with no status.
func TestRecordOfDeaths(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(v victim) int
		event  string
		fields map[string]string
	}{
		"berth-session is killed": {func(v victim) int { return v.helper }, "lost", map[string]string{"reason": "berth-session was killed", "user": "alice"}},
		"the client is killed":    {func(v victim) int { return v.client.Process.Pid }, "ended", map[string]string{"reason": "hangup", "status": "", "user": "alice"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := lab.openVictim(t, false)
			if err := syscall.Kill(c.end(v), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			lines := lab.record(t, v.mark)
			last := lines[len(lines)-1]
			if len(lines) != 3 || last.Event != c.event {
				t.Errorf("%+v, want three lines, at last %s", lines, c.event)
			}
			for key, want := range c.fields {
				if last.Fields[key] != want {
					t.Errorf("%s=%q, want %q", key, last.Fields[key], want)
				}
			}
			left := lab.Exec(t, "ls", "/var/lib/berth/sessions/"+lab.UID(t, "alice"))
			if strings.Contains(left, last.Fields["id"]) {
				t.Errorf("its file is left: %s", left)
			}
		})
	}
}

// An id goes with its session from one transport to the other, and stands on the
// user's screen.
func TestRecordOfAFallback(t *testing.T) {
	l := newLab(t, "transport = \"auto\"\n")
	// On a connection that is there, where no PAM starts the container.
	path, _ := l.Master(t, "alice")
	if r := finish(l.SSH("alice", "-S", path, "true")); r.Status != 0 { // PAM has done its work by now
		t.Fatalf("%+v", r)
	}
	docker(t, "stop", "-t", "1", l.Container(t))
	if r := finish(l.SSH("alice", "-S", path, ": healed")); r.Status != 0 { // by an exec
		t.Fatalf("%+v", r)
	}
	lines := l.record(t, ": healed")
	if len(lines) != 3 || lines[1].Fields["transport"] != "exec" || lines[2].Fields["status"] != "0" || lines[0].Fields["id"] != lines[2].Fields["id"] {
		t.Errorf("%+v", lines)
	}
	connection, _, _ := strings.Cut(lines[0].Fields["id"], "-")
	if len(lines[0].Fields["id"]) != 17 || connection == "" {
		t.Errorf("id %q is not of PAM's connection", lines[0].Fields["id"])
	}
	if key := l.Exec(t, "ssh-keygen", "-l", "-f", l.Path("keys/alice.pub")); !strings.Contains(key, " "+lines[0].Fields["key"]+" ") {
		t.Errorf("key %q, want that of %q", lines[0].Fields["key"], key)
	}
}

// A user who opens sessions as fast as they can does not fill the log; how many were
// left out is said.
func TestRecordOfMany(t *testing.T) {
	dir := "/var/lib/berth/sessions/" + lab.UID(t, "erin")
	lab.run(t, "erin", "true")
	path, _ := lab.Master(t, "erin")
	const sessions = 20
	for i := range sessions {
		// As though the others had been opened just now.
		lab.Exec(t, "touch", "-d", "+100 seconds", dir+"/rate")
		if r := finish(lab.SSH("erin", "-S", path, fmt.Sprintf(": many %d.", i))); r.Status != 0 {
			t.Fatalf("%+v", r)
		}
	}
	written := func() (n int) {
		for _, line := range lab.Record() {
			if line.Event == "requested" && strings.HasPrefix(line.Fields["command"], ": many ") {
				n++
			}
		}
		return n
	}
	finish(lab.SSH("erin", "-S", path, "-O", "exit"))
	eventually(t, patience, func() (bool, string) {
		n := written()
		for _, line := range lab.Record() {
			var count int
			if _, err := fmt.Sscan(line.Fields["count"], &count); err == nil && line.Event == "omitted" && line.Fields["user"] == "erin" {
				n += count
			}
		}
		return n == sessions, fmt.Sprintf("%d sessions are written or told of, of %d", n, sessions)
	})
	if n := written(); n > sessions/2 {
		t.Errorf("%d of %d were written", n, sessions)
	}
	lab.Exec(t, "touch", dir+"/rate")
}

// listenJournal binds journald's socket, and prints what comes, a line for each.
const listenJournal = `mkdir -p /run/systemd/journal && exec perl -MSocket -e '
	socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die $!;
	bind($s, sockaddr_un("/run/systemd/journal/socket")) or die $!;
	chmod 0666, "/run/systemd/journal/socket";
	$| = 1; print "ready\n";
	while (defined recv($s, my $data, 1 << 20, 0)) { print unpack("H*", $data), "\n" }'`

// entryOf reads journald's protocol.
func entryOf(data []byte) map[string]string {
	fields := map[string]string{}
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if name, value, simple := bytes.Cut(line, []byte("=")); simple {
			fields[string(name)], data = string(value), rest
			continue
		}
		size := binary.LittleEndian.Uint64(rest)
		fields[string(line)], data = string(rest[8:8+size]), rest[9+size:]
	}
	return fields
}

// Where there is journald, a line has its fields there, of which the command is whole.
func TestJournal(t *testing.T) {
	l := newLab(t, "")
	journal := l.Command("sh", "-c", listenJournal)
	out, err := journal.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := journal.Start(); err != nil {
		t.Fatal(err)
	}
	entries := make(chan map[string]string, 100)
	go func() {
		defer close(entries)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			data, err := hex.DecodeString(strings.TrimSpace(line))
			if err == nil {
				entries <- entryOf(data)
			} else if line == "ready\n" {
				entries <- map[string]string{"ready": "yes"}
			}
		}
	}()
	t.Cleanup(func() {
		_ = journal.Process.Kill()
		_ = journal.Wait()
	})
	want := func(fields map[string]string) map[string]string {
		t.Helper()
		entry, ok := <-entries
		for name, value := range fields {
			if !ok || entry[name] != value {
				t.Fatalf("%s is %q, want %q, in %.2000q", name, entry[name], value, entry)
			}
		}
		return entry
	}
	want(map[string]string{"ready": "yes"})
	command := "\n: " + strings.Repeat("x", 20<<10) + "\nexit 4"
	if r := finish(l.SSH("alice", command)); r.Status != 4 {
		t.Fatalf("%+v", r)
	}
	common := map[string]string{"SYSLOG_IDENTIFIER": "berth-session", "SYSLOG_FACILITY": "10", "BERTH_USER": "alice", "BERTH_UID": l.UID(t, "alice")}
	first := want(common)
	id := first["BERTH_ID"]
	if first["BERTH_EVENT"] != "requested" || first["BERTH_COMMAND"] != command {
		t.Errorf("%s, %d bytes of a command of %d", first["BERTH_EVENT"], len(first["BERTH_COMMAND"]), len(command))
	}
	v := l.openVictim(t, false)
	if err := syscall.Kill(v.helper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{"BERTH_EVENT": "started", "PRIORITY": "6", "BERTH_CONTAINER": l.ContainerOf(t, "alice"), "BERTH_ID": id})
	want(map[string]string{"BERTH_EVENT": "ended", "PRIORITY": "6", "BERTH_STATUS": "4", "BERTH_ID": id, "BERTH_REASON": "exit"})
	killed := want(map[string]string{"BERTH_EVENT": "requested"})["BERTH_ID"]
	want(map[string]string{"BERTH_EVENT": "started"})
	lost := want(map[string]string{"BERTH_EVENT": "lost", "PRIORITY": "4", "BERTH_ID": killed, "BERTH_REASON": "berth-session was killed"})
	for name, value := range common {
		if lost[name] != value {
			t.Errorf("root's line: %s is %q, want %q", name, lost[name], value)
		}
	}
	if text, err := os.ReadFile(l.Path("log")); err != nil || strings.Contains(string(text), "session requested id="+id) {
		t.Errorf("it is in syslog, too: %v", err)
	}
}
