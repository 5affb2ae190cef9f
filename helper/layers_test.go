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
	{"lifeline", "terminal", "request", "environ", "audit", "fault", "owned", "place", "tree", "sshdcheck", "threads"},
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
	// An application of PAM, for its module's tests alone.
	"github.com/msteinert/pam": {},
}

// mayInTests is the same for tests, of the modules that nothing else may import.
var mayInTests = map[string][]string{"github.com/msteinert/pam": {"pam"}}

func TestLayers(t *testing.T) {
	packages := imports(t, "{{join .Imports \" \"}}")
	layer := map[string]int{}
	for i, names := range layers {
		for _, name := range names {
			layer[internal+name] = i
		}
	}
	for pkg, imports := range packages {
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
			outside(t, may, pkg, imported)
		}
	}
	for pkg, imports := range imports(t, "{{join .TestImports \" \"}} {{join .XTestImports \" \"}}") {
		for _, imported := range imports {
			outside(t, mayInTests, pkg, imported)
		}
	}
}

// outside checks the import of a module that is not ours.
func outside(t *testing.T, may map[string][]string, pkg, imported string) {
	t.Helper()
	for module, users := range may {
		within := slices.ContainsFunc(users, func(u string) bool { return strings.HasSuffix(pkg, "/"+u) })
		if strings.HasPrefix(imported, module) && !within {
			t.Errorf("%s imports %s", pkg, imported)
		}
	}
}

// imports lists what each package imports, by the template of a field of go list.
func imports(t *testing.T, field string) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} "+field, "berth/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(line)
		packages[words[0]] = words[1:]
	}
	return packages
}
