// SPDX-License-Identifier: Apache-2.0

// Package helper holds no code; this test keeps its packages in layers.
package helper

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const internal = "berth/helper/internal/"

// layers lists the packages from the bottom up. One may import those of lower
// layers only.
var layers = [][]string{
	{"lifeline", "terminal", "request", "environ", "audit", "fault", "owned", "place", "tree", "sshdcheck"},
	{"lifelinetest", "policy", "control", "process", "record", "rules"},
	{"identity", "engine", "guest", "serve"},
	{"nss", "docker", "direct", "session"},
	{"login"},
}

// may lists what each outside module may be imported by: a package exists
// because it hides something.
var may = map[string][]string{
	"github.com/docker/docker": {"engine"},
	"github.com/spf13/cobra":   {"cmd/berth"},
}

func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "berth/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	layer := map[string]int{}
	for i, names := range layers {
		for _, name := range names {
			layer[internal+name] = i
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(line)
		pkg, imports := words[0], words[1:]
		own, known := layer[pkg]
		if strings.HasPrefix(pkg, internal) && !known {
			t.Errorf("%s is in no layer", pkg)
		}
		for _, imported := range imports {
			if at, ours := layer[imported]; ours && known && at >= own {
				t.Errorf("%s (layer %d) imports %s (layer %d)", pkg, own, imported, at)
			}
			if strings.HasPrefix(pkg, "berth/pam") && strings.HasPrefix(imported, "berth/helper") ||
				strings.HasPrefix(pkg, "berth/helper") && strings.HasPrefix(imported, "berth/pam") {
				t.Errorf("%s imports %s: pam and helper share nothing", pkg, imported)
			}
			for module, users := range may {
				within := slices.ContainsFunc(users, func(u string) bool { return strings.HasSuffix(pkg, "/"+u) })
				if strings.HasPrefix(imported, module) && !within {
					t.Errorf("%s imports %s", pkg, imported)
				}
			}
		}
	}
}
