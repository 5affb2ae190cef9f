// SPDX-License-Identifier: Apache-2.0

// Package record reads what pam_berth.so leaves of a user: what NSS calls
// them and their groups, in a file of root's named by the uid, one line as in passwd(5)
// and then lines as in group(5) (pam/internal/names).
package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/helper/internal/link/rootfile"
)

// Record is one user's.
type Record struct {
	User, Gecos, Home, Shell string
	GID                      uint32
	Groups                   map[uint32]string // names by gid
}

// ErrMalformed is a file that is no record, or another user's.
var ErrMalformed = errors.New("malformed record")

// Path is where uid's record is in dir.
func Path(dir string, uid uint32) string {
	return filepath.Join(dir, strconv.FormatUint(uint64(uid), 10))
}

// Exists reports whether there is one of uid in dir.
func Exists(dir string, uid uint32) bool { _, err := os.Lstat(Path(dir, uid)); return err == nil }

// Read returns uid's record in dir.
func Read(dir string, uid uint32) (Record, error) {
	text, err := rootfile.Read(Path(dir, uid))
	if err != nil {
		return Record{}, fmt.Errorf("the record of uid %d: %w", uid, err)
	}
	return Parse(string(text), uid)
}

// Parse decodes a record's text. The names in it are root's, and not checked.
func Parse(text string, uid uint32) (Record, error) {
	malformed := fmt.Errorf("uid %d: %w", uid, ErrMalformed)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	user := strings.Split(lines[0], ":")
	if len(user) != 7 || user[2] != strconv.FormatUint(uint64(uid), 10) {
		return Record{}, malformed
	}
	primary, err := strconv.ParseUint(user[3], 10, 32)
	if err != nil {
		return Record{}, malformed
	}
	r := Record{User: user[0], GID: uint32(primary), Gecos: user[4], Home: user[5], Shell: user[6], Groups: map[uint32]string{}}
	for _, line := range lines[1:] {
		group := strings.Split(line, ":")
		if len(group) != 4 {
			return Record{}, malformed
		}
		gid, err := strconv.ParseUint(group[2], 10, 32)
		if err != nil {
			return Record{}, malformed
		}
		r.Groups[uint32(gid)] = group[0]
	}
	return r, nil
}
