// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/helper/internal/link/loginerror"
)

// The file's presence is what counts, and its first line what users read.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drain")
	if err := Check(path); err != nil {
		t.Fatalf("nothing there: %v", err)
	}
	for text, want := range map[string]string{
		"":                                 DefaultWords,
		"\nsecond line\n":                  DefaultWords,
		" \x1b\a ":                         DefaultWords,
		"Reboot at noon\nask root\n":       "Reboot at noon",
		"grün \x1b[2Jrot\u009b\u202e\xff.": "grün [2Jrot.",
		strings.Repeat("x", 300):           strings.Repeat("x", 200),
		strings.Repeat("x", 199) + "ü":     strings.Repeat("x", 199),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r := (*loginerror.Refusal)(nil)
		if err := Check(path); !errors.As(err, &r) || r.User != want || !r.Denied || r.Status != 255 {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

// What is not root's alone is obeyed, and says nothing.
func TestStrangeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drain")
	for what, make := range map[string]func() error{
		"a link":                    func() error { return os.Symlink("/etc/hostname", path) },
		"a link to nothing":         func() error { return os.Symlink("/nothing", path) },
		"a directory":               func() error { return os.Mkdir(path, 0o755) },
		"a file that others write":  func() error { return errors.Join(os.WriteFile(path, []byte("words"), 0o644), os.Chmod(path, 0o666)) },
		"a file of somebody else's": func() error { return errors.Join(os.WriteFile(path, []byte("words"), 0o644), os.Chown(path, 1000, 0)) },
		"a file of two megabytes":   func() error { return os.WriteFile(path, make2MiB(), 0o644) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		r := (*loginerror.Refusal)(nil)
		if err := Check(path); !errors.As(err, &r) || r.User != DefaultWords || !errors.Is(err, errDrained) {
			t.Errorf("%s: %+v", what, r)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func make2MiB() []byte { return []byte(strings.Repeat("x", 2<<20)) }
