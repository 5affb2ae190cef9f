// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"berth/helper/internal/link/record"
)

// Records is the directory that pam_berth.so keeps of those whose sessions it
// opened. Whom it does not know, getent(1) is asked for: this way a program needs
// no C library, hence no loader that listens to LD_PRELOAD, and starts sooner.
type Records struct {
	Dir  string
	last record.Record
}

// Account implements Directory.
func (r *Records) Account(uid uint32) (Account, error) {
	known, err := record.Read(r.Dir, uid)
	if err != nil {
		line, gerr := getent("passwd", uid)
		if gerr == nil {
			known, gerr = record.Parse(line, uid)
		}
		if gerr != nil {
			return Account{UID: uid}, Unknown(uid, errors.Join(err, gerr))
		}
	}
	r.last = known
	return Account{UID: uid, Name: known.User, Gecos: known.Gecos, Home: known.Home, Shell: known.Shell}, nil
}

// GroupName implements Directory.
func (r *Records) GroupName(gid uint32) string {
	if name, known := r.last.Groups[gid]; known {
		return name
	}
	line, err := getent("group", gid)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(line, ":")
	return name
}

// getent asks the host's name service.
func getent(database string, id uint32) (string, error) {
	cmd := exec.Command("/usr/bin/getent", database, strconv.FormatUint(uint64(id), 10))
	cmd.Env = []string{} // the caller's may hold LD_PRELOAD
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("getent %s %d: %w", database, id, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}
