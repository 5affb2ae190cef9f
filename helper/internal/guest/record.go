// SPDX-License-Identifier: Apache-2.0

// Process: berth-enter. As: container root. The record is root's of the host,
// written by pam_berth.so from what NSS said at session open (pam/names.c).

package guest

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"berth/helper/internal/lifeline"
	"berth/helper/internal/rules"

	"golang.org/x/sys/unix"
)

// recordDir is where the host's directory of names is mounted, read-only.
const recordDir = "/run/berth/names"

// Recorded reports whether the PAM module has left names for uid.
func Recorded(uid uint32) bool {
	return unix.Access(recordPath(recordDir, uid), unix.R_OK) == nil
}

func recordPath(dir string, uid uint32) string {
	return filepath.Join(dir, strconv.FormatUint(uint64(uid), 10))
}

// readRecord returns the names that stand in uid's record: a line as in
// passwd(5), then lines as in group(5).
func readRecord(dir string, uid uint32) (lifeline.Names, error) {
	path := recordPath(dir, uid)
	text, err := rules.ReadOwned(path)
	if err != nil {
		return lifeline.Names{}, err
	}
	return parseRecord(text, uid)
}

func parseRecord(text string, uid uint32) (lifeline.Names, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	user := strings.Split(lines[0], ":")
	if len(user) != 7 || user[2] != strconv.FormatUint(uint64(uid), 10) {
		return lifeline.Names{}, fmt.Errorf("the record of uid %d: %w", uid, lifeline.ErrMalformed)
	}
	names := lifeline.Names{User: user[0], Gecos: user[4], Home: user[5], Groups: map[uint32]string{}}
	if user[6] != "" {
		names.Shells = []string{user[6]}
	}
	for _, line := range lines[1:] {
		group := strings.Split(line, ":")
		if len(group) != 4 {
			return lifeline.Names{}, fmt.Errorf("the record of uid %d: %w", uid, lifeline.ErrMalformed)
		}
		gid, err := strconv.ParseUint(group[2], 10, 32)
		if err != nil {
			return lifeline.Names{}, fmt.Errorf("the record of uid %d: %w", uid, lifeline.ErrMalformed)
		}
		names.Groups[uint32(gid)] = group[0]
	}
	return names, checkNames(&names)
}
