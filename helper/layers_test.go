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

// may says what each folder of helper/internal may import of the others: what
// runs in the container knows nothing of the host's side, and the other way round.
var may = map[string][]string{
	"host":   {"link", "policy"},
	"guest":  {"link"},
	"admin":  {"link", "policy"},
	"policy": {"link"},
	"link":   nil,
}

// exceptions are packages that may import one more.
var exceptions = map[string]string{
	// The transport that speaks to the engine.
	"host/exec": "admin/engine",
}

// programs says what each program may import.
var programs = map[string][]string{
	"berth":              {"admin", "link", "policy"},
	"berth-guest":        {"guest", "link"},
	"berth-session":      {"host", "link", "policy"},
	"berth-session-exec": {"host", "link", "policy"},
}

// hides lists who may import an outside module: a package exists because it hides
// something.
var hides = map[string][]string{
	"github.com/docker/docker": {"admin/engine"},
	"github.com/spf13/cobra":   {"cmd/berth"},
	// An application of PAM, for its module's tests alone.
	"github.com/msteinert/pam": {},
}

// hidesInTests is the same for tests, of the modules that nothing else may import.
var hidesInTests = map[string][]string{"github.com/msteinert/pam": {"pam"}}

func TestLayers(t *testing.T) {
	for pkg, imports := range imports(t, "{{join .Imports \" \"}}") {
		allowed := allowedTo(t, pkg)
		for _, imported := range imports {
			if path, ours := strings.CutPrefix(imported, internal); ours && allowed != nil && !allowed(path) {
				t.Errorf("%s imports %s", pkg, imported)
			}
			if strings.HasPrefix(pkg, "berth/pam") && strings.HasPrefix(imported, "berth/helper") ||
				strings.HasPrefix(pkg, "berth/helper") && strings.HasPrefix(imported, "berth/pam") {
				t.Errorf("%s imports %s: pam and helper share nothing", pkg, imported)
			}
			outside(t, hides, pkg, imported)
		}
	}
	for pkg, imports := range imports(t, "{{join .TestImports \" \"}} {{join .XTestImports \" \"}}") {
		for _, imported := range imports {
			outside(t, hidesInTests, pkg, imported)
		}
	}
}

// allowedTo returns what pkg may import of helper/internal; nil: the tables do
// not say.
func allowedTo(t *testing.T, pkg string) func(path string) bool {
	t.Helper()
	folder := func(path string) string { before, _, _ := strings.Cut(path, "/"); return before }
	if path, ours := strings.CutPrefix(pkg, internal); ours {
		folders, known := may[folder(path)]
		if !known {
			t.Errorf("%s is in a folder that says nothing about where it runs", pkg)
		}
		return func(imported string) bool {
			return folder(imported) == folder(path) || slices.Contains(folders, folder(imported)) || exceptions[path] == imported
		}
	}
	if program, ours := strings.CutPrefix(pkg, "berth/helper/cmd/"); ours {
		folders, known := programs[program]
		if !known {
			t.Errorf("nothing says what the program %s may import", program)
		}
		return func(imported string) bool { return slices.Contains(folders, folder(imported)) }
	}
	return nil
}

// outside checks the import of a module that is not ours.
func outside(t *testing.T, hides map[string][]string, pkg, imported string) {
	t.Helper()
	for module, users := range hides {
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
