// SPDX-License-Identifier: Apache-2.0

package sessionlog

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open is a record that writes into lines; the user's directory is dir.
func open(t *testing.T, dir string) (*Record, *[]string) {
	t.Helper()
	var lines []string
	r := &Record{ID: "0badcafe-12345678", user: userDir(dir)}
	r.Facts = Facts{User: "alice", UID: 1001, From: "10.0.0.7:51234", Key: "SHA256:abc", Kind: "command", Command: "make test",
		Transport: "direct", Container: "berth", Image: "berth:latest"}
	r.prepare = prepareBy(func(priority int, fields []field) {
		lines = append(lines, fmt.Sprintf("%d %s", priority, text(fields)))
	})
	return r, &lines
}

// prepareBy is a record's prepare whose lines go to send.
func prepareBy(send func(int, []field)) func(int, []field) func() error {
	return func(priority int, fields []field) func() error {
		return func() error {
			send(priority, fields)
			return nil
		}
	}
}

// An end that no log has taken is left for root to write.
func TestEndThatIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	r, _ := open(t, dir)
	r.Requested()
	r.Started("")
	r.prepare = func(int, []field) func() error { return func() error { return unix.EAGAIN } }
	r.Ended(End{Reason: Exit})
	if _, err := os.Lstat(r.user.file(r.ID, os.Getpid())); err != nil {
		t.Error(err)
	}
}

// Every line, to the letter, with its priority.
func TestGolden(t *testing.T) {
	const (
		requested = `6 session requested id=0badcafe-12345678 user=alice uid=1001 from=10.0.0.7:51234 key=SHA256:abc kind=command command="make test"`
		started   = `6 session started id=0badcafe-12345678 user=alice transport=direct container=berth image=berth:latest`
	)
	for name, c := range map[string]struct {
		do   func(*Record)
		want []string
	}{
		"exit": {func(r *Record) { r.Requested(); r.Started(""); r.Ended(End{Reason: Exit, Status: 3}) },
			[]string{requested, started, `6 session ended id=0badcafe-12345678 user=alice reason=exit status=3 duration=D`}},
		"terminal": {func(r *Record) {
			r.Requested()
			r.Started("/dev/pts/3")
			r.Ended(End{Reason: Exit, TTY: true, In: 12, Out: 3456})
		}, []string{requested, started + " tty=/dev/pts/3",
			`6 session ended id=0badcafe-12345678 user=alice reason=exit status=0 bytes_in=12 bytes_out=3456 duration=D`}},
		"signal": {func(r *Record) { r.Requested(); r.Started(""); r.Ended(End{Reason: Signal, Signal: 9}) },
			[]string{requested, started, `6 session ended id=0badcafe-12345678 user=alice reason=signal signal=9 duration=D`}},
		"hangup": {func(r *Record) { r.Requested(); r.Started(""); r.Ended(End{Reason: Hangup}) },
			[]string{requested, started, `6 session ended id=0badcafe-12345678 user=alice reason=hangup duration=D`}},
		"refused": {func(r *Record) { r.Requested(); r.Refused(255, "you have 100 sessions") },
			[]string{requested, `5 session refused id=0badcafe-12345678 user=alice status=255 reason="you have 100 sessions"`}},
		"failed": {func(r *Record) { r.Requested(); r.Failed(255, `open "x": no`) },
			[]string{requested, `3 session failed id=0badcafe-12345678 user=alice status=255 reason="open \"x\": no"`}},
		"lost": {func(r *Record) { r.Requested(); r.Started(""); r.Failed(255, "the session was lost") },
			[]string{requested, started, `4 session lost id=0badcafe-12345678 user=alice status=255 reason="the session was lost" duration=D`}},
		"at once": {func(r *Record) {
			r.Facts = Facts{UID: 1001, Transport: "direct"}
			r.Failed(255, "berth.toml is wrong")
		}, []string{`6 session requested id=0badcafe-12345678 uid=1001`,
			`3 session failed id=0badcafe-12345678 uid=1001 status=255 reason="berth.toml is wrong"`}},
		"a client that is hard on the log": {func(r *Record) {
			r.Facts.Command = "a\nb\x1b[2J\u202e\xff" + strings.Repeat("ä", 3000)
			r.Requested()
			r.Refused(255, "no")
		}, []string{strings.Replace(requested, `make test`, `a\nb\x1b[2J\u202e\xff`+strings.Repeat("ä", 506)+"...", 1),
			`5 session refused id=0badcafe-12345678 user=alice status=255 reason=no`}},
		"about the host": {func(r *Record) { r.Requested(); r.Warn("berth.toml: x\n"); r.Refused(255, "no") },
			[]string{requested, `4 berth.toml: x? (id 0badcafe-12345678)`, `5 session refused id=0badcafe-12345678 user=alice status=255 reason=no`}},
	} {
		r, lines := open(t, filepath.Join(t.TempDir(), "none"))
		c.do(r)
		for i, line := range *lines {
			if before, _, timed := strings.Cut(line, " duration="); timed {
				(*lines)[i] = before + " duration=D"
			}
		}
		if got, want := strings.Join(*lines, "\n"), strings.Join(c.want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

// Whatever is called, in whatever order, a record has one beginning and one end,
// and says success of no session that was not started.
func TestOneBeginningAndOneEnd(t *testing.T) {
	calls := []func(*Record){
		(*Record).Requested,
		func(r *Record) { r.Started("") },
		func(r *Record) { r.Refused(255, "no") },
		func(r *Record) { r.Failed(255, "no") },
		func(r *Record) { r.Ended(End{Reason: Exit}) },
		func(r *Record) { r.Ended(End{Reason: Hangup}) },
		func(r *Record) { r.Warn("w") },
	}
	for seed := range int64(2000) {
		random := rand.New(rand.NewSource(seed))
		r, lines := open(t, filepath.Join(t.TempDir(), "none"))
		for range 1 + random.Intn(6) {
			calls[random.Intn(len(calls))](r)
		}
		r.Failed(255, "the process ends")
		all := strings.Join(*lines, "\n")
		count := func(events ...string) (n int) {
			for _, e := range events {
				n += strings.Count(all, " session "+e+" ")
			}
			return n
		}
		begins, starts, ends := count("requested"), count("started"), count("refused", "failed", "lost", "ended")
		if begins != 1 || starts > 1 || ends != 1 || strings.Contains(all, "status=0") && starts == 0 {
			t.Fatalf("seed %d: %d beginnings, %d starts, %d ends:\n%s", seed, begins, starts, ends, all)
		}
	}
}

// Whoever removes the session's file writes its end.
func TestEndThatRootHasWritten(t *testing.T) {
	dir := t.TempDir()
	r, lines := open(t, dir)
	r.Requested()
	file := fmt.Sprintf("%s/%s.%d", dir, r.ID, os.Getpid())
	if _, err := os.Lstat(file); err != nil {
		t.Fatal(err)
	}
	var said []string
	r.Tell(func(id, file string, p Progress) {
		said = append(said, fmt.Sprint(id, " ", filepath.Base(file), " ", p))
	})
	r.Started("")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.Ended(End{Reason: Exit})
	if len(*lines) != 2 {
		t.Errorf("%q", *lines)
	}
	base := fmt.Sprintf("0badcafe-12345678 0badcafe-12345678.%d ", os.Getpid())
	if want := []string{base + "1", base + "2", base + "3"}; strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", said, want)
	}
	// And its own.
	r, lines = open(t, dir)
	r.Requested()
	r.Started("")
	r.Ended(End{Reason: Exit})
	if _, err := os.Lstat(file); len(*lines) != 3 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q, %v", *lines, err)
	}
}

// The program that another gives way to goes on with its record.
func TestResume(t *testing.T) {
	for _, muted := range []bool{false, true} {
		id, m, ok := parseResume(formatResume("0badcafe-12345678", muted, 77), 77)
		if id != "0badcafe-12345678" || m != muted || !ok {
			t.Errorf("%q %v %v", id, m, ok)
		}
	}
	for _, text := range []string{"", "x", "0badcafe.78", "0badcafe", "0badcafe.77.x", "0BADCAFE.77", "../x.77", "0badcafe-.77", "-0badcafe.77", "0badcafe-0badcafe-0badcafe.77", ".77", "0badcafe.077"} {
		if _, _, ok := parseResume(text, 77); ok {
			t.Errorf("%q is believed", text)
		}
	}
	t.Setenv(resumeVariable, fmt.Sprintf("0badcafe.%d", os.Getpid()))
	r := Open()
	var lines []string
	r.prepare = prepareBy(func(_ int, fields []field) { lines = append(lines, text(fields)) })
	r.claimed = false
	r.Requested()
	r.Started("")
	if r.ID != "0badcafe" || len(lines) != 1 || !strings.HasPrefix(lines[0], "session started id=0badcafe ") {
		t.Errorf("%s: %q", r.ID, lines)
	}
	t.Setenv(resumeVariable, "")
	for connection, form := range map[string]string{"0badcafe": "0badcafe-", "0BADCAFE": "", "": "", "../../x": "", "0badcafe1": ""} {
		t.Setenv(ConnectionVariable, connection)
		if id := Open().ID; !strings.HasPrefix(id, form) || !validID(id) || len(id) != len(form)+8 {
			t.Errorf("%q: id %q", connection, id)
		}
	}
}

func TestFrom(t *testing.T) {
	for connection, want := range map[string]string{
		"10.0.0.7 51234 10.0.0.1 22": "10.0.0.7:51234", "fe80::1%eth0 51234 fe80::2 22": "[fe80::1%eth0]:51234", "": "", "x": "", "a b c d e": "",
		strings.Repeat("x", 300) + " 1 2 3": "",
	} {
		if got := from(connection); got != want {
			t.Errorf("%q: %q, want %q", connection, got, want)
		}
	}
}

// A user who has used up what may be written is left out and counted, but not with
// a session that lasts.
func TestRate(t *testing.T) {
	dir := t.TempDir()
	written := 0
	var lines *[]string
	var r *Record
	for written = 0; written < 2*burst; written++ {
		r, lines = open(t, dir)
		r.Facts.Command = ""
		r.Requested()
		if len(*lines) == 0 {
			break
		}
		r.Refused(255, "no")
	}
	if written < burst || written > burst+20 {
		t.Errorf("%d sessions were written at once, want about %d", written, burst)
	}
	r.Refused(255, "no")
	if len(*lines) != 0 || r.user.unsaid() != 1 {
		t.Errorf("%q", *lines)
	}
	// One that lasts is written, late.
	use := func(ahead time.Duration) {
		then := time.Now().Add(ahead)
		if err := os.Chtimes(dir+"/rate", then, then); err != nil {
			t.Fatal(err)
		}
	}
	use(burst * interval)
	r, lines = open(t, dir)
	r.Requested()
	r.Started("")
	r.late.Stop()
	r.beginLate()
	r.Ended(End{Reason: Exit})
	if all := strings.Join(*lines, "\n"); len(*lines) != 3 || strings.Count(all, " late=0.") != 2 {
		t.Errorf("late: %s", all)
	}
	// What was left out is told with the next that is written.
	use(burst * interval)
	for range 3 {
		r, _ = open(t, dir)
		r.Refused(255, "no")
	}
	use(0)
	r, lines = open(t, dir)
	r.Requested()
	if want := "4 session omitted user=alice uid=1001 count=3"; len(*lines) != 2 || (*lines)[0] != want {
		t.Errorf("%q, want %q first", *lines, want)
	}
	if r.user.unsaid() != 0 {
		t.Error("it would be told twice")
	}
	// Long commands count as more; where one does not fit, its beginning does.
	use((burst - 10) * interval)
	r, lines = open(t, dir)
	r.Facts.Command = strings.Repeat("x", 100<<10)
	command := ""
	r.prepare = prepareBy(func(_ int, fields []field) {
		for _, f := range fields {
			if f.name == "command" {
				command = f.value
			}
		}
	})
	r.Requested()
	if len(command) != excerptSize+3 {
		t.Errorf("%d bytes of the command", len(command))
	}
	_ = lines
	// A clock that was set back mutes nobody for long.
	use(1000 * time.Hour)
	now := time.Now()
	next, ok := take(now, now.Add(1000*time.Hour), 1)
	if ok || next.After(now.Add((burst+1)*interval)) {
		t.Errorf("until %v", next.Sub(now))
	}
}

// What is in the directory may be anything.
func TestHostileDirectory(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"links": func(dir string) error { return os.Symlink("/etc/passwd", dir+"/rate") },
		"directories": func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/rate", 0o700), os.Mkdir(dir+"/omitted", 0o700))
		},
	} {
		dir := t.TempDir()
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		r, lines := open(t, dir)
		r.Requested()
		r.Refused(255, "no")
		if len(*lines) != 2 {
			t.Errorf("%s: %q", name, *lines)
		}
	}
}

// Root writes the ends of those that nobody is left to write, by names alone.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sessions")
	if err := os.MkdirAll(dir+"/1001", 0o700); err != nil {
		t.Fatal(err)
	}
	const dead = "4194305" // above PID_MAX_LIMIT (proc(5))
	keep := []string{"0badcaff." + fmt.Sprint(os.Getpid()), "rate", "0badcafe", "x." + dead, "0badcafe.0", "0badcafe.-1", "0badcafe-0badcafe-0badcafe." + dead}
	for _, name := range append(keep, "0badcafe-00000001."+dead, "0badcafe."+dead) {
		if err := os.WriteFile(dir+"/1001/"+name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(dir+"/1001/0badcafe-00000002."+dead, 0o700), os.Symlink("/etc", dir+"/1002"), os.Mkdir(dir+"/x", 0o700)); err != nil {
		t.Fatal(err)
	}
	var lines []string
	if err := prepare(dir, func(_ int, fields []field) { lines = append(lines, text(fields)) }); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(lines, "\n")
	for _, id := range []string{"0badcafe-00000001", "0badcafe"} {
		if want := "session lost id=" + id + ` uid=1001 reason="berth-session was killed, and its connection with it"`; !strings.Contains(all+"\n", want+"\n") {
			t.Errorf("no %q in %q", want, all)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%q", lines)
	}
	for _, name := range keep {
		if _, err := os.Lstat(dir + "/1001/" + name); err != nil {
			t.Error(err)
		}
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}
