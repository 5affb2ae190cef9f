// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"berth/helper/internal/link/paths"
	"berth/helper/internal/policy"
)

// What C says of a path is what Go says of it. C can import nothing of Go's, and pam
// and helper share no package.
func TestPathsInC(t *testing.T) {
	for file, want := range map[string]map[string]string{
		"cmd/berth-init/init.h": {
			"GUEST": paths.GuestProgram, "SELF": paths.InitProgram, "PRIVATE": paths.Private, "REGISTER": paths.Register, "SERVE": paths.Serve,
			"SOCKET": paths.Serve + "/" + paths.Socket, "CONTROL": paths.Serve + "/" + paths.Control, "UNSETTLED": paths.Serve + "/" + paths.Unsettled,
		},
		"cmd/berth-session-exec/prelude.c": {"ENGINE": policy.EngineLink, "LIFELINES": policy.LifelineDir + "/"},
		"../pam/berth.h":                   {"NAMES": policy.NamesDir, "UNSETTLED": policy.ServeDir + "/" + paths.Unsettled},
	} {
		got := pathsDefined(t, file)
		for name, path := range want {
			if got[name] != path {
				t.Errorf("%s: %s is %q, in Go %q", file, name, got[name], path)
			}
		}
		for name, path := range got {
			if _, known := want[name]; !known && strings.Contains(path, "/berth/") {
				t.Errorf("%s: %s is %q: which path of Go's is that?", file, name, path)
			}
		}
	}
}

// pathsDefined returns the absolute paths that a C file defines as macros.
func pathsDefined(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+)((?: (?:\w+|"[^"]*"))+)$`).FindAllStringSubmatch(string(text), -1) {
		value := ""
		for _, part := range strings.Fields(m[2]) {
			if literal, quoted := strings.CutPrefix(part, `"`); quoted {
				value += strings.TrimSuffix(literal, `"`)
			} else {
				value += found[part]
			}
		}
		if strings.HasPrefix(value, "/") {
			found[m[1]] = value
		}
	}
	return found
}
