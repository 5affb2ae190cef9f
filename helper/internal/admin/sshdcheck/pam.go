// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// entry is one line of a PAM stack, with what it includes beside it, as libpam
// has it (pam_handlers.c).
type entry struct {
	file    string
	number  int
	level   int    // of substacks
	control string // "" is the head of a substack
	module  string // its base name
	args    []string
}

func (e entry) String() string { return fmt.Sprintf("%s:%d", e.file, e.number) }

// readStack returns the lines of one type, auth or session, of a service.
func (h Host) readStack(service, kind string) ([]entry, error) {
	// A service without a line of this type goes by the service "other".
	for _, name := range []string{service, "other"} {
		r := stack{dirs: h.PAM, kind: kind}
		if _, _, err := r.find(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := r.add(name, 0, 0); err != nil {
			return nil, err
		}
		if len(r.entries) > 0 {
			return r.entries, nil
		}
	}
	return nil, nil
}

type stack struct {
	dirs    []string
	kind    string
	entries []entry
}

// add reads a service's file, or one that is included.
func (r *stack) add(name string, level, depth int) error {
	if depth > 32 {
		return fmt.Errorf("%s: includes itself", name)
	}
	path, text, err := r.find(name)
	if err != nil {
		return err
	}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		number, raw := i+1, lines[i]
		for strings.HasSuffix(raw, `\`) && i+1 < len(lines) {
			i++
			raw = strings.TrimSuffix(raw, `\`) + " " + lines[i]
		}
		words := pamWords(raw)
		if len(words) < 2 {
			continue
		}
		if words[0] == "@include" {
			if err := r.add(words[1], level, depth+1); err != nil {
				return fmt.Errorf("%s:%d: %w", path, number, err)
			}
			continue
		}
		if strings.ToLower(strings.TrimPrefix(words[0], "-")) != r.kind || len(words) < 3 {
			continue
		}
		e := entry{file: path, number: number, level: level, control: strings.ToLower(words[1]), module: filepath.Base(words[2]), args: words[3:]}
		switch e.control {
		case "include":
			err = r.add(words[2], level, depth+1)
		case "substack":
			e.control, e.module = "", ""
			r.entries = append(r.entries, e)
			err = r.add(words[2], level+1, depth+1)
		default:
			r.entries = append(r.entries, e)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
}

func (r *stack) find(name string) (path, text string, err error) {
	if filepath.IsAbs(name) {
		b, err := os.ReadFile(name)
		return name, string(b), err
	}
	for _, dir := range r.dirs {
		path = filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return path, string(b), err
		}
	}
	return "", "", fmt.Errorf("%s: %w", filepath.Join(r.dirs[0], name), fs.ErrNotExist)
}

// pamWords splits a line by blanks; what is in square brackets is one word.
func pamWords(raw string) []string {
	var w splitter
	bracket := false
	for _, r := range raw {
		switch {
		case r == '#' && !bracket:
			return w.end()
		case r == '[' && !w.inWord:
			bracket = true
			w.add(r)
		case r == ']' && bracket:
			bracket = false
			w.add(r)
			w.end()
		case (r == ' ' || r == '\t') && !bracket:
			w.end()
		default:
			w.add(r)
		}
	}
	return w.end()
}

// module reports whether libpam finds a module of that name.
func (h Host) module(name string) bool {
	for _, dir := range h.Modules {
		if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) > 0 {
			return true
		}
	}
	return false
}
