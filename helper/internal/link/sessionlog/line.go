// SPDX-License-Identifier: Apache-2.0

package sessionlog

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"
)

// field is one of a line's. Those that are inLine stand in the text, too; an empty
// one stands nowhere.
type field struct {
	name, value string
	inLine      bool
}

type event int

const (
	begun event = iota
	running
	refused
	failed
	lost
	ended
	omitted
)

// Priorities and the facility, as syslog(3) has them.
const (
	errorPriority = 3
	warning       = 4
	notice        = 5
	info          = 6
	authpriv      = 10
)

var events = [...]struct {
	name     string
	priority int
}{
	begun:   {"requested", info},
	running: {"started", info},
	refused: {"refused", notice},
	failed:  {"failed", errorPriority},
	lost:    {"lost", warning},
	ended:   {"ended", info},
	omitted: {"omitted", warning},
}

// text is the line for people: "session ended id=... status=0".
func text(fields []field) string {
	var b strings.Builder
	for _, f := range fields {
		switch {
		case f.name == "MESSAGE":
			b.WriteString(clean(f.value))
		case f.name == "event":
			b.WriteString("session " + f.value)
		case f.inLine && f.value != "":
			b.WriteString(" " + f.name + "=" + quote(excerpt(f.value)))
		}
	}
	return b.String()
}

// entry is the journal's form of it (systemd.io/JOURNAL_NATIVE_PROTOCOL).
func entry(priority int, fields []field) []byte {
	var b []byte
	add := func(name, value string) {
		if strings.Contains(value, "\n") {
			b = append(b, name...)
			b = append(b, '\n')
			b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
		} else {
			b = append(b, name...)
			b = append(b, '=')
		}
		b = append(b, value...)
		b = append(b, '\n')
	}
	add("MESSAGE", text(fields))
	add("PRIORITY", strconv.Itoa(priority))
	add("SYSLOG_FACILITY", strconv.Itoa(authpriv))
	add("SYSLOG_IDENTIFIER", identifier)
	for _, f := range fields {
		if f.value != "" && f.name != "MESSAGE" {
			add("BERTH_"+strings.ToUpper(f.name), f.value)
		}
	}
	return b
}

// excerptSize bounds a text that others chose in a line, in bytes: syslog's are cut
// at about 8 KiB, and quoting makes four bytes of one.
const excerptSize = 1024

func excerpt(s string) string {
	if len(s) <= excerptSize {
		return s
	}
	end := excerptSize
	for end > excerptSize-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// quote quotes what would not be read back as one word.
func quote(s string) string {
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '=' || r == '\\' || r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// clean makes text safe to show.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, excerpt(s))
}
