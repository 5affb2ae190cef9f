// SPDX-License-Identifier: Apache-2.0

// Package audit writes berth-session's log lines: to syslog (on a systemd host
// that is the journal), facility authpriv, in logfmt, each with the session's
// id. A user reads the same id on her screen.
package sessionlog

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"log/syslog"
)

// NewID returns an id for one session: 8 hexadecimal digits.
func NewID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read does not fail
	return hex.EncodeToString(b[:])
}

// Open returns a logger whose lines carry id. Without a syslog the lines go
// nowhere: a login must not depend on it, and the user's terminal is no place
// for them.
func Open(id string) *slog.Logger {
	var out io.Writer = io.Discard
	if w, err := syslog.New(syslog.LOG_AUTHPRIV|syslog.LOG_NOTICE, "berth-session"); err == nil {
		out = w
	}
	return to(out, id)
}

func to(out io.Writer, id string) *slog.Logger {
	handler := slog.NewTextHandler(out, &slog.HandlerOptions{
		// syslog stamps its lines itself.
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
	return slog.New(handler).With("id", id)
}

// longest bounds a client's text in a log line, in bytes; syslog datagrams
// are cut at about 8 KiB anyway.
const longest = 1024

// Excerpt shortens a client's text for a log line. The handler quotes it.
func Excerpt(text string) string {
	if len(text) > longest {
		return text[:longest] + "..."
	}
	return text
}
