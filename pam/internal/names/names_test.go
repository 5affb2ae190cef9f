// SPDX-License-Identifier: Apache-2.0

package names

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var nina = Record{User: "nina", UID: 4711, GID: 4711, Gecos: "Nina N.", Home: "/home/nina", Shell: "/bin/zsh",
	Groups: map[uint32]string{900: "domain users", 4711: "nina", 5: ""}}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	want := "nina:x:4711:4711:Nina N.:/home/nina:/bin/zsh\ndomain users:x:900:\nnina:x:4711:\n"
	for range 2 {
		if err := Write(dir, nina); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "4711")
	text, err := os.ReadFile(path)
	if err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

// A directory that somebody else could write holds nobody's names.
func TestUnsafeDirectory(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"another's": func(d string) error { return os.Chown(d, 4711, 0) },
		"writable":  func(d string) error { return os.Chmod(d, 0o777) },
		"a link": func(d string) error {
			return errors.Join(os.Rename(d, d+".real"), os.Symlink(d+".real", d))
		},
		"missing": os.Remove,
	} {
		dir := filepath.Join(t.TempDir(), "names")
		if err := errors.Join(os.Mkdir(dir, 0o755), spoil(dir)); err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, nina); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

// Whatever NSS says, no line is forged.
func FuzzText(f *testing.F) {
	f.Add("nina", "Nina", "/home/nina", "/bin/sh", "staff")
	f.Add("a:x:0:0", "x\nroot::0:0::/:", "/", "\n", "g,h")
	f.Fuzz(func(t *testing.T, user, gecos, home, shell, group string) {
		text, err := Record{User: user, UID: 1, GID: 2, Gecos: gecos, Home: home, Shell: shell, Groups: map[uint32]string{3: group}}.text()
		if err != nil {
			return
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) > 2 || strings.Count(lines[0], ":") != 6 || !strings.HasPrefix(lines[0], user+":x:1:2:") {
			t.Errorf("%q", text)
		}
		if len(lines) == 2 && lines[1] != group+":x:3:" {
			t.Errorf("%q", text)
		}
	})
}
