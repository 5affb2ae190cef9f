// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const loginDefs = "/etc/login.defs"

// modes are the home's own mode and the mask for what the skeleton brings.
type modes struct{ home, umask uint32 }

// modesFor follows pam_mkhomedir(8): umask= decides both; without it HOME_MODE
// of login.defs(5) is the home's, or what its UMASK leaves of 0777, or 0755.
// Above all that stands mode=, for the home alone.
func modesFor(r Request, path string) (modes, error) {
	m, err := defaultModes(r, path)
	if r.ModeGiven {
		m.home = r.Mode
	}
	return m, err
}

func defaultModes(r Request, path string) (modes, error) {
	if r.UmaskGiven {
		return modes{0o777 &^ r.Umask, r.Umask}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return modes{}, fmt.Errorf("login.defs: %w", err)
	}
	m := modes{0o755, 0o022}
	if umask, found := octal(string(text), "UMASK"); found {
		m = modes{0o777 &^ umask, umask}
	}
	if mode, found := octal(string(text), "HOME_MODE"); found {
		m.home = mode
	}
	return m, nil
}

// octal returns the last value of a key of login.defs that is a mode; what is
// none counts as not there, as it does for shadow's own programs.
func octal(text, key string) (value uint32, found bool) {
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != key {
			continue
		}
		if n, err := strconv.ParseUint(words[1], 8, 32); err == nil && n <= 0o777 {
			value, found = uint32(n), true
		}
	}
	return value, found
}
