// SPDX-License-Identifier: Apache-2.0

package sessionlog

import (
	"encoding/hex"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ConnectionVariable holds the id that pam_berth.so gave the connection (8
// hexadecimal digits). A session's id is that, a dash, and 8 digits of its own: a
// connection may have many sessions. A user who sets the variable confuses what the
// log says of that user, and nothing else.
const ConnectionVariable = "BERTH_CONNECTION"

// resumeVariable holds, for a program that goes on with a record, ID.PID, and
// .muted if nothing of it is written. Only the process with that pid believes it.
const resumeVariable = "BERTH_SESSION"

// digits8 reports whether s is 8 hexadecimal digits. (regexp would be compiled at each
// login.)
func digits8(s string) bool { return len(s) == 8 && strings.Trim(s, "0123456789abcdef") == "" }

// validID reports whether s has the form of a session's id.
func validID(s string) bool {
	connection, own, two := strings.Cut(s, "-")
	return digits8(connection) && (!two || digits8(own))
}

func newID(connection string) string {
	var random [4]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		pid := unix.Getpid()
		random = [4]byte{byte(pid >> 24), byte(pid >> 16), byte(pid >> 8), byte(pid)}
	}
	id := hex.EncodeToString(random[:])
	if digits8(connection) {
		return connection + "-" + id
	}
	return id
}

func formatResume(id string, muted bool, pid int) string {
	text := id + "." + strconv.Itoa(pid)
	if muted {
		text += ".muted"
	}
	return text
}

func parseResume(text string, pid int) (id string, muted, ok bool) {
	text, muted = strings.CutSuffix(text, ".muted")
	id, found := strings.CutSuffix(text, "."+strconv.Itoa(pid))
	if !found || !validID(id) {
		return "", false, false
	}
	return id, muted, true
}
