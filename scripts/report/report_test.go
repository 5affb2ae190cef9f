// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module has packages whose tests each go wrong in another way, or do not.
var module = map[string]string{
	"good": `func TestGood(t *testing.T) { t.Log("nobody need read this") }
		func TestBelow(t *testing.T) { t.Run("x", func(t *testing.T) {}) }`,
	"errors": `func TestErrors(t *testing.T) { fmt.Println("printed"); t.Errorf("first reason\nmore of it"); t.Error("second reason") }`,
	"below": `func TestParent(t *testing.T) { t.Run("b", func(t *testing.T) {
			t.Run("c", func(t *testing.T) { t.Error("deep reason") }); t.Run("ok", func(t *testing.T) {}) }) }
		func TestBoth(t *testing.T) { t.Error("parent's reason"); t.Run("b", func(t *testing.T) { t.Parallel(); t.Error("child's reason") }) }`,
	"compile":   `func TestA(t *testing.T) { undeclared() }`,
	"vet":       `func TestA(t *testing.T) { t.Errorf("%d", "no number") }`,
	"main":      `func TestMain(m *testing.M) { fmt.Fprintln(os.Stderr, "no lab could be raised"); os.Exit(1) }`,
	"after":     `func TestMain(m *testing.M) { m.Run(); fmt.Println("could not clear"); os.Exit(3) }; func TestA(t *testing.T) {}`,
	"panics":    `func TestPanics(t *testing.T) { t.Log("what came before"); panic("in the test") }; func TestNever(t *testing.T) {}`,
	"goroutine": `func TestOuter(t *testing.T) { t.Run("x", func(t *testing.T) { go func() { panic("beside the test") }(); select {} }) }`,
	"hangs":     `func TestQuick(t *testing.T) {}; func TestHangs(t *testing.T) { time.Sleep(time.Hour) }`,
	"skips":     `func TestSkips(t *testing.T) { t.Skip("lacks a gerbil") }`,
	"none":      ``,
}

// stream is what scripts/test sends for these packages.
func stream(t *testing.T, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("go.mod", "module m\n\ngo 1.26\n")
	args := []string{"test", "-json", "-timeout", "5s"}
	for _, name := range packages {
		if text, ok := module[name]; ok {
			put(name+"/a_test.go", "package a\nimport (\"fmt\"; \"os\"; \"testing\"; \"time\")\nvar _, _, _, _ = fmt.Print, os.Exit, testing.Short, time.Sleep\n"+text)
		}
		args = append(args, "./"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	return fmt.Sprintf("{\"Run\":\"auto\"}\n%s{\"Run\":\"auto\",\"Status\":%d}\n", out, cmd.ProcessState.ExitCode())
}

// reportOn is the report on a stream, and whether all was well.
func reportOn(t *testing.T, stream string) (string, bool) {
	t.Helper()
	var out bytes.Buffer
	r := newReport(&out)
	if err := r.read(strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	ok := r.finish()
	return out.String(), ok
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return lines[len(lines)-1]
}

// Every way of failing is told once, with its reason, and counted.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		packages string
		last     string
		reasons  []string
	}{
		{"errors", "0 passed, 1 failed", []string{"-- [auto] m/errors TestErrors\nprinted\n", "first reason\n        more of it\n", "second reason"}},
		{"below", "1 passed, 5 failed", []string{"-- [auto] m/below TestParent/b/c\n", "deep reason", "parent's reason", "-- [auto] m/below TestBoth/b\n", "child's reason"}},
		{"compile", "0 passed, 1 failed", []string{"-- [auto] m/compile\n", "undefined: undeclared"}},
		{"vet", "0 passed, 1 failed", []string{"-- [auto] m/vet\n", "wrong type string"}},
		{"main", "0 passed, 1 failed", []string{"-- [auto] m/main\n", "no lab could be raised"}},
		{"after", "1 passed, 1 failed", []string{"-- [auto] m/after\n", "could not clear"}},
		{"panics", "0 passed, 1 failed", []string{"-- [auto] m/panics TestPanics\n", "what came before", "panic: in the test"}},
		{"goroutine", "0 passed, 2 failed", []string{"-- [auto] m/goroutine TestOuter/x\n", "panic: beside the test", "(it did not end)"}},
		{"hangs", "1 passed, 1 failed", []string{"-- [auto] m/hangs TestHangs\n", "test timed out after 5s"}},
		{"skips", "0 passed, 0 failed, 1 skipped", []string{"== skips", "-- [auto] m/skips TestSkips\n", "lacks a gerbil"}},
		{"none", "0 passed, 1 failed", []string{"the run executed no test"}},
		{"missing", "0 passed, 1 failed", []string{"directory not found"}},
		{"good errors compile", "3 passed, 2 failed", []string{"first reason", "undefined: undeclared", "ok   [auto] m/good", "FAIL [auto] m/errors"}},
	} {
		t.Run(c.packages, func(t *testing.T) {
			t.Parallel()
			text, ok := reportOn(t, stream(t, strings.Fields(c.packages)...))
			if ok || lastLine(text) != c.last {
				t.Errorf("all well: %v, last line %q, want %q", ok, lastLine(text), c.last)
			}
			for _, reason := range c.reasons {
				if strings.Count(text, reason) != 1 {
					t.Errorf("%q stands there %d times, not once", reason, strings.Count(text, reason))
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

func TestAllWell(t *testing.T) {
	good := stream(t, "good")
	text, ok := reportOn(t, good+good)
	if !ok || lastLine(text) != "6 passed, 0 failed" || strings.Contains(text, "== failures") || strings.Contains(text, "need read") {
		t.Errorf("%v:\n%s", ok, text)
	}
	if strings.Count(text, "m/good TestBelow\n") != 2 { // the slowest, of each run
		t.Errorf("slowest:\n%s", text)
	}
}

// A stream that stops anywhere is no success.
func TestCutOff(t *testing.T) {
	good := stream(t, "good")
	if text, ok := reportOn(t, ""); ok || lastLine(text) != "0 passed, 1 failed" {
		t.Errorf("nothing at all: %s", text)
	}
	for end, b := range good[:len(good)-1] {
		if b != '\n' {
			continue
		}
		if text, ok := reportOn(t, good[:end+1]); ok || !strings.Contains(text, "the run was cut off") {
			t.Fatalf("%s\nis taken for a success:\n%s", good[:end+1], text)
		}
	}
	if text, ok := reportOn(t, "no go here\n"+good); ok || !strings.Contains(text, "no go here") {
		t.Errorf("words outside of a run: %s", text)
	}
}

func TestSlowest(t *testing.T) {
	var text strings.Builder
	text.WriteString("{\"Run\":\"race\"}\n{\"Action\":\"run\",\"Package\":\"p\",\"Test\":\"P\"}\n")
	for i := range 40 {
		fmt.Fprintf(&text, "{\"Action\":\"run\",\"Package\":\"p\",\"Test\":\"T%d\"}\n{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":\"T%d\",\"Elapsed\":%d.5}\n", i, i, i)
	}
	// A parent of parallel subtests says 0 of itself.
	for _, name := range []string{"P/a/b", "P/c"} {
		fmt.Fprintf(&text, "{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":%q,\"Elapsed\":30.25}\n", name)
	}
	text.WriteString("{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":\"P\"}\n{\"Action\":\"pass\",\"Package\":\"p\"}\n{\"Run\":\"race\",\"Status\":0}\n")
	got, ok := reportOn(t, text.String())
	_, slow, _ := strings.Cut(got, "== slowest tests\n")
	lines := strings.Split(slow, "\n")
	if !ok || !strings.HasSuffix(lines[0], "60.5s  [race] p P") || !strings.HasSuffix(lines[1], "39.5s  [race] p T39") || !strings.HasSuffix(lines[slowestShown-1], "26.5s  [race] p T26") || lines[slowestShown] != "" {
		t.Errorf("%v\n%s", ok, got)
	}
}
