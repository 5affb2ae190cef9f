// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Line is one of a session's lines in a log (berth-log(7)).
type Line struct {
	Event  string
	Fields map[string]string
	PID    int // of berth-session; 0: root wrote it
}

var lineForm = regexp.MustCompile(`^\w{3} [ \d]\d [\d:]{8} (?:berth-session\[(\d+)\]|\S+\[\d+\]: pam_berth\([^)]*\)): session ([a-z]+) (.*)$`)

// Lines returns the sessions' lines of a log, in order.
func Lines(log string) (lines []Line) {
	for text := range strings.Lines(log) {
		m := lineForm.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
		if m == nil {
			continue
		}
		pid, _ := strconv.Atoi(m[1])
		lines = append(lines, Line{Event: m[2], PID: pid, Fields: fields(m[3])})
	}
	return lines
}

// fields reads key=value pairs, of which a value may be quoted.
func fields(text string) map[string]string {
	all := map[string]string{}
	for text != "" {
		key, rest, _ := strings.Cut(text, "=")
		value, err := strconv.QuotedPrefix(rest)
		if err == nil {
			text = strings.TrimPrefix(rest[len(value):], " ")
			value, _ = strconv.Unquote(value)
		} else {
			value, text, _ = strings.Cut(rest, " ")
		}
		all[key] = value
	}
	return all
}

// Record returns the sessions' lines of the lab's log.
func (l *Lab) Record() []Line {
	text, _ := os.ReadFile(l.Path("log"))
	return Lines(string(text))
}

// ends are the events after which nothing comes.
var ends = []string{"refused", "failed", "lost", "ended"}

// Judge returns what is wrong with a record: each id has one beginning and one end,
// and never says success for what was none. goesOn says of a session without an
// end whether that is still to come.
func Judge(lines []Line, goesOn func(id string, pid int) bool) (wrong []string) {
	all := map[string][]Line{}
	var ids []string
	for _, line := range lines {
		id := line.Fields["id"]
		if line.Event == "omitted" {
			continue // it is about no single session
		}
		if all[id] == nil {
			ids = append(ids, id)
		}
		all[id] = append(all[id], line)
	}
	for _, id := range ids {
		if why := judge(all[id], func(pid int) bool { return goesOn(id, pid) }); why != "" {
			wrong = append(wrong, fmt.Sprintf("session %q: %s: %+v", id, why, all[id]))
		}
	}
	return wrong
}

func judge(lines []Line, goesOn func(pid int) bool) string {
	started, ended := false, false
	for i, line := range lines {
		if (i == 0) != (line.Event == "requested") {
			return "it has not one beginning"
		}
		if ended {
			return "it goes on after its end"
		}
		status, hasStatus := line.Fields["status"]
		switch line.Event {
		case "requested":
		case "started":
			if started {
				return "it starts twice"
			}
			started = true
		case "ended":
			if !started {
				return "it ends without a start"
			}
			if reason := line.Fields["reason"]; (reason == "exit") != hasStatus || (reason == "signal") != (line.Fields["signal"] != "") {
				return "its end is not clear"
			}
		case "refused", "failed":
			if started {
				return "it was started, and not"
			}
			if status == "0" {
				return "it says success"
			}
		case "lost":
			if status == "0" {
				return "it says success"
			}
		default:
			return "it has an event that is none"
		}
		ended = slices.Contains(ends, line.Event)
	}
	if !ended && !goesOn(lines[0].PID) {
		return "it has no end"
	}
	return ""
}

// CheckRecord judges the lab's log. A session that has no end must still run, or be
// left for `berth up`, because sshd was killed with it.
func (l *Lab) CheckRecord() (wrong []string) {
	goesOn := func(id string, pid int) bool {
		if syscall.Kill(pid, 0) == nil {
			return true
		}
		left := l.Try("sh", "-c", fmt.Sprintf("ls /var/lib/berth/sessions/*/%s.%d", id, pid))
		return left.Status == 0
	}
	// What has just ended may be about to say so.
	for end := time.Now().Add(Patience); ; time.Sleep(50 * time.Millisecond) {
		running := false
		wrong = Judge(l.Record(), func(id string, pid int) bool { running = true; return goesOn(id, pid) })
		if len(wrong) == 0 || !running || time.Now().After(end) {
			return wrong
		}
	}
}

// Close ends a suite that had the lab to itself, and came to status.
func (l *Lab) Close(status int) int {
	for _, wrong := range l.CheckRecord() {
		fmt.Fprintln(os.Stderr, "the record of sessions is wrong:", wrong)
		status = 1
	}
	l.Down()
	return status
}
