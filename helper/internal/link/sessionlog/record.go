// SPDX-License-Identifier: Apache-2.0

// Package sessionlog writes the record of a session: one line when it is requested,
// one when it has started, and one when it has ended, was lost, refused, or failed,
// all under one id that the user sees, too. berth-log(7) is the reference.
//
// Process: berth-session, berth-session-exec. As: the user. Root writes the end that
// a killed berth-session could not: pam_berth.so (pam/sessions.c), and `berth up`.
package sessionlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Facts is what is known of a session. Each is filled in when it is.
type Facts struct {
	User                        string
	UID                         int
	From                        string // the client's address and port
	Key                         string // the fingerprint of the key that the client proved
	Kind, Command               string // what it asked for
	Transport, Container, Image string // where it goes
}

// The reasons of an end that is neither a loss nor an error.
const (
	Exit   = "exit"   // the program has ended by itself
	Signal = "signal" // the program was ended by a signal
	Hangup = "hangup" // the client has gone
	// An administrator has ended the session.
	Administrator = "administrator"
)

// End is how a session ended.
type End struct {
	Reason         string
	Status, Signal int
	TTY            bool // then In and Out count
	In, Out        int64
}

type state int

const (
	opened    state = iota // nothing is written
	requested              // the beginning is
	started
	closed // the end is
)

// Record is the record of one session. It has one beginning and one end, whatever
// is called how often.
type Record struct {
	ID      string
	Facts   Facts
	mu      sync.Mutex
	state   state
	began   time.Time // when the program was started
	tty     string
	muted   bool // the user has used up what may be written
	late    *time.Timer
	user    userDir
	claimed bool // the file was made
	tell    func(id, file string, p Progress)
	prepare func(priority int, fields []field) (send func() error)
}

// Progress is how far the record is.
type Progress int

// What may stand in the log already.
const (
	Nothing  Progress = iota
	Begun             // its beginning
	Running           // and that it has started
	Complete          // its end; or nothing will
)

// Open returns the record of this process's session. It goes on with the one that
// the program before it, in the same process, has begun.
func Open() *Record {
	r := &Record{Facts: Facts{UID: os.Getuid(), From: from(os.Getenv("SSH_CONNECTION")), Key: key(os.Getenv("SSH_USER_AUTH"))}}
	r.user = userDir(fmt.Sprintf("%s/%d", Dir, r.Facts.UID))
	r.prepare = (&sink{journal: journalSocket, syslog: syslogSocket}).prepare
	if id, muted, resumed := parseResume(os.Getenv(resumeVariable), os.Getpid()); resumed {
		r.ID, r.muted, r.state, r.claimed = id, muted, requested, !muted
		return r
	}
	r.ID = newID(os.Getenv(ConnectionVariable))
	return r
}

// Tell calls tell with the record's id, its file ("": none) and its progress, now
// and at each change: for those who have to write the end when Go cannot any more.
func (r *Record) Tell(tell func(id, file string, p Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell = tell
	r.changed()
}

func (r *Record) changed() {
	if r.tell == nil {
		return
	}
	progress, file := [...]Progress{opened: Nothing, requested: Begun, started: Running, closed: Complete}[r.state], ""
	if r.muted {
		progress = Complete
	}
	if r.claimed {
		file = r.user.file(r.ID, os.Getpid())
	}
	r.tell(r.ID, file, progress)
}

// Environ is the environment for a program that goes on with this record in the same
// process.
func (r *Record) Environ() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	env := os.Environ()
	if r.state == requested {
		env = append(env, resumeVariable+"="+formatResume(r.ID, r.muted, os.Getpid()))
	}
	return env
}

// Requested says what the client asks for.
func (r *Record) Requested() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request()
}

func (r *Record) request() {
	if r.state != opened {
		return
	}
	r.state = requested
	whole, some := r.user.allow(len(r.Facts.Command))
	if r.muted = !some; r.muted {
		r.changed()
		return
	}
	if n := r.user.unsaid(); n > 0 {
		_ = r.prepare(events[omitted].priority, []field{{"event", events[omitted].name, false}, {"user", r.Facts.User, true},
			{"uid", strconv.Itoa(r.Facts.UID), true}, {"count", strconv.FormatInt(n, 10), true}})()
	}
	r.begin(whole)
}

// begin writes the beginning.
func (r *Record) begin(whole bool, more ...field) {
	command := r.Facts.Command
	if !whole {
		command = excerpt(command)
	}
	r.claimed = r.user.create(r.ID) // before the line: what has a beginning has a file
	r.changed()
	r.write(begun, append(append(r.whoFields(), field{"kind", r.Facts.Kind, true}, field{"command", command, true}), more...)...)
}

// Started says that the program runs. tty is the name of its terminal, if it has one.
func (r *Record) Started(tty string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request()
	if r.state != requested {
		return
	}
	r.state, r.began, r.tty = started, time.Now(), tty
	if r.muted {
		r.late = time.AfterFunc(lasting, r.beginLate)
		return
	}
	r.changed()
	r.run()
}

func (r *Record) run(more ...field) {
	r.write(running, append(append(r.whereFields(true), field{"tty", r.tty, true}), more...)...)
}

// lasting is how long a session runs until it is written although its user has used
// up what may be written: nobody hides a session behind many short ones. How many of
// these there can be is session.limit's to say.
const lasting = 10 * time.Second

func (r *Record) beginLate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != started {
		return
	}
	r.muted = false
	late := field{"late", fmt.Sprintf("%.3f", time.Since(r.began).Seconds()), true}
	r.begin(false, late)
	r.run(late)
}

// Refused says that berth does not want this session.
func (r *Record) Refused(status int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request()
	r.finish(refused, append(r.whereFields(false), field{"status", strconv.Itoa(status), true}, field{"reason", reason, true})...)
}

// Failed says that the session could not be started. One that had been started is
// lost.
func (r *Record) Failed(status int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request()
	kind := failed
	if r.state == started {
		kind = lost
	}
	r.finish(kind, append(r.whereFields(false), field{"status", strconv.Itoa(status), true}, field{"reason", reason, true})...)
}

// Ended says how the session ended.
func (r *Record) Ended(e End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request()
	if r.state != started {
		r.finish(failed, append(r.whereFields(false), field{"reason", "it ended before it was started", true})...)
		return
	}
	fields := append(r.whereFields(false), field{"reason", e.Reason, true})
	switch e.Reason {
	case Exit:
		fields = append(fields, field{"status", strconv.Itoa(e.Status), true})
	case Signal:
		fields = append(fields, field{"signal", strconv.Itoa(e.Signal), true})
	}
	if e.TTY {
		fields = append(fields, field{"bytes_in", strconv.FormatInt(e.In, 10), true}, field{"bytes_out", strconv.FormatInt(e.Out, 10), true})
	}
	r.finish(ended, fields...)
}

// Warn writes a line that is about the host, and found out by this session.
func (r *Record) Warn(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.muted {
		_ = r.prepare(warning, []field{{"MESSAGE", text + " (id " + r.ID + ")", false}, {"id", r.ID, false}})()
	}
}

func (r *Record) finish(kind event, fields ...field) {
	if r.state == closed {
		return
	}
	if r.state == started {
		fields = append(fields, field{"duration", fmt.Sprintf("%.3f", time.Since(r.began).Seconds()), true})
	}
	r.state = closed
	defer r.changed()
	if r.muted {
		r.user.omit()
		return
	}
	// Whoever removes the file writes the end. Root does when this takes too long. The
	// line is ready before: a SIGKILL between the two would leave no end at all.
	send := r.line(kind, fields)
	if r.claimed && errors.Is(r.user.remove(r.ID), fs.ErrNotExist) {
		return
	}
	if send() != nil && r.claimed {
		r.user.create(r.ID) // a log that did not read in time: the end is root's to write
	}
}

func (r *Record) write(kind event, fields ...field) {
	if !r.muted {
		_ = r.line(kind, fields)()
	}
}

func (r *Record) line(kind event, fields []field) (send func() error) {
	return r.prepare(events[kind].priority, append(r.head(kind), fields...))
}

func (r *Record) head(kind event) []field {
	return []field{{"event", events[kind].name, false}, {"id", r.ID, true}}
}

// whoFields are of the session's beginning: who, from where.
func (r *Record) whoFields() []field {
	f := r.Facts
	return []field{{"user", f.User, true}, {"uid", strconv.Itoa(f.UID), true}, {"from", f.From, true}, {"key", f.Key, true}}
}

// whereFields are of each later line. The journal's fields repeat who it was, so
// that one filter finds a user's lines; the text is shorter.
func (r *Record) whereFields(inLine bool) []field {
	f := r.Facts
	fields := r.whoFields()
	for i := range fields[1:] {
		fields[i+1].inLine = f.User == "" && fields[i+1].name == "uid"
	}
	return append(fields, field{"kind", f.Kind, false}, field{"transport", f.Transport, inLine},
		field{"container", f.Container, inLine}, field{"image", f.Image, inLine})
}

// from makes "10.0.0.7:51234" of sshd's SSH_CONNECTION.
func from(connection string) string {
	words := strings.Fields(connection)
	if len(words) != 4 || len(connection) > 256 {
		return ""
	}
	if strings.Contains(words[0], ":") {
		return "[" + words[0] + "]:" + words[1]
	}
	return words[0] + ":" + words[1]
}
