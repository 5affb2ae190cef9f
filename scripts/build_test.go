// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// berth says its version, the commit and the Go that built it; and the newest version in
// NEWS.md is the one that the Makefile builds.
func TestVersion(t *testing.T) {
	out, err := exec.Command("../build/berth", "--version").Output()
	if form := `^berth v\d+\.\d+\.\d+\S*, commit [0-9a-f]{40}(-dirty)?, go1\.\S+\n$`; err != nil || !regexp.MustCompile(form).Match(out) {
		t.Errorf("%v, %q", err, out)
	}
	release := func(file, pattern string) string {
		text, err := os.ReadFile(file)
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if err != nil || found == nil {
			t.Fatalf("%s has no version: %v", file, err)
		}
		return string(found[1])
	}
	if built, told := release("../Makefile", `(?m)^RELEASE = (\S+)$`), release("../NEWS.md", `(?m)^## (v[^\s,]+)`); built != told {
		t.Errorf("the Makefile builds %s, NEWS.md ends with %s", built, told)
	}
}

// The same sources give the same programs, wherever they lie.
func TestReproducible(t *testing.T) {
	var copies [2]string
	for i := range copies {
		copies[i] = t.TempDir()
		copying := exec.Command("sh", "-c", `cd .. && git ls-files -z -c -o --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || echo "$f"; done' - | tar cf - -T - | tar xf - -C "$1"`, "-", copies[i])
		if out, err := copying.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if out, err := exec.Command("make", "-s", "-C", copies[i], "build", "VERSION=v1.2.3", "COMMIT=0123").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, name := range []string{"berth", "berth-session", "berth-session-exec", "berth-guest", "pam_berth.so"} {
		one, err := os.ReadFile(filepath.Join(copies[0], "build", name))
		if err != nil {
			t.Fatal(err)
		}
		if two, err := os.ReadFile(filepath.Join(copies[1], "build", name)); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: %v, %d and %d bytes that differ", name, err, len(one), len(two))
		}
		if bytes.Contains(one, []byte(copies[0])) {
			t.Errorf("%s holds the directory that it was built in", name)
		}
	}
	out, err := exec.Command(filepath.Join(copies[1], "build", "berth"), "--version").Output()
	if err != nil || !bytes.HasPrefix(out, []byte("berth v1.2.3, commit 0123, go1.")) {
		t.Errorf("%v, %q", err, out)
	}
}

// What is installed has nothing of `make cover`; what that builds does.
func TestNothingOfCoverage(t *testing.T) {
	if out, err := exec.Command("make", "-s", "-C", "..", "COVER=1", "build").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"berth", "berth-session", "berth-session-exec", "berth-guest", "pam_berth.so"} {
		for dir, want := range map[string]bool{"../build": false, "../build/cover": true} {
			program, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, trace := range []string{"GOCOVERDIR", "/home/.cover", "berth/test/coverage", "runtime/coverage"} {
				if bytes.Contains(program, []byte(trace)) != want {
					t.Errorf("%s/%s: %q: %v", dir, name, trace, !want)
				}
			}
		}
	}
}
