// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/architecture.md names is there: each function of "The life of a login" in its
// folder, each file and folder of "Where to change what".
func TestArchitectureNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	section := func(title string) string {
		_, found, ok := strings.Cut(string(text), "\n## "+title+"\n")
		if !ok {
			t.Fatalf("no section %q", title)
		}
		found, _, _ = strings.Cut(found, "\n## ")
		return found
	}
	places := regexp.MustCompile("`([^`]+)`: ((?:`\\w+`(?:, )?)+)").FindAllStringSubmatch(section("The life of a login"), -1)
	if len(places) < 12 {
		t.Errorf("the life of a login names functions in %d places", len(places))
	}
	for _, place := range places {
		folder := locate(place[1])
		if folder == "" {
			t.Errorf("there is no %s", place[1])
			continue
		}
		for _, name := range regexp.MustCompile(`\w+`).FindAllString(place[2], -1) {
			if !defines(t, folder, name) {
				t.Errorf("%s defines no function %s", place[1], name)
			}
		}
	}
	paths := regexp.MustCompile("`([^` ]+)`").FindAllStringSubmatch(section("Where to change what"), -1)
	if len(paths) < 15 {
		t.Errorf("where to change what names %d places", len(paths))
	}
	for _, path := range paths {
		if locate(path[1]) == "" {
			t.Errorf("there is no %s", path[1])
		}
	}
	words := strings.Count(section("Words"), "\n| ") - 1 // without the head
	if words < 1 || words > 15 {
		t.Errorf("the glossary has %d entries", words)
	}
}

// locate finds a path below the repository or below helper/internal.
func locate(path string) string {
	for _, top := range []string{"..", "internal"} {
		if _, err := os.Stat(filepath.Join(top, path)); err == nil {
			return filepath.Join(top, path)
		}
	}
	return ""
}

// defines tells whether a file of folder defines the function, in Go or in C.
func defines(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.[cg]*"))
	if err != nil {
		t.Fatal(err)
	}
	definition := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|\w[\w \t*]*[ *])` + name + `\([^;\n]*$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && definition.Match(text) {
			return true
		}
	}
	return false
}
