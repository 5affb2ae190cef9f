// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/rules"
	"berth/helper/internal/link/sessionlog"
	"berth/helper/internal/policy"
)

// definedStrings returns the strings that a C header defines, put together: one may begin with
// another's name.
func definedStrings(t *testing.T, header string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(header)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+) (?:(\w+) )?"([^"]*)"$`).FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = found[m[2]] + m[3]
	}
	return found
}

// The C of the container and of the PAM module have the paths that Go has.
func TestPathsInC(t *testing.T) {
	for header, want := range map[string]map[string]string{
		"cmd/berth-init/init.h": {
			"GUEST": paths.GuestProgram, "SELF": paths.InitProgram, "PRIVATE": paths.Private, "SERVE": paths.Serve,
			"SOCKET": paths.Serve + "/" + paths.Socket, "CONTROL": paths.Serve + "/" + paths.Control,
			"UNSETTLED": paths.Serve + "/" + paths.Unsettled, "REGISTER": paths.Register,
			"RULES": paths.Serve + "/" + rules.File, "LEASE": paths.Serve + "/" + paths.Lease,
		},
		"cmd/berth-session-exec/prelude.c": {"ENGINE": policy.EngineLink, "LIFELINES": policy.LifelineDir + "/"},
		"../pam/berth.h": {
			"NAMES": policy.NamesDir, "SESSIONS": sessionlog.Dir, "CONFIG": policy.Path,
			"STATE": policy.StateDir, "USERS": filepath.Base(policy.UsersDir), "PROFILES": filepath.Base(policy.ProfilesDir),
			"SOCKET": paths.Socket, "CONTROL": paths.Control, "UNSETTLED": paths.Unsettled, "LEASE": paths.Lease,
			"SERVE": strings.TrimPrefix(paths.Serve, "/"), "FORWARDING": policy.ForwardingFile,
			"RUN": filepath.Dir(policy.EmptyNetwork), "NOWHERE": filepath.Base(policy.EmptyNetwork),
			"CONFINING_SHELL": "/berth-session", // the end of its path
		},
	} {
		have := definedStrings(t, header)
		for name, path := range want {
			if have[name] != path {
				t.Errorf("%s: %s is %q, and %q in Go", header, name, have[name], path)
			}
			delete(have, name)
		}
		for name, path := range have {
			if strings.HasPrefix(path, "/") && name != "BERTH_PROGRAM" {
				t.Errorf("%s: %s, %q, is compared with nothing", header, name, path)
			}
		}
	}
}
