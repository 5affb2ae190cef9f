// SPDX-License-Identifier: Apache-2.0

package rootfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRead(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a file of root's")
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want string // of the error; "": the file is read
	}{
		"of root":            {file(0o644, 0), ""},
		"of root alone":      {file(0o600, 0), ""},
		"empty":              {func(path string) error { return os.WriteFile(path, nil, 0o644) }, ""},
		"just short enough":  {func(path string) error { return os.WriteFile(path, make([]byte, MaxSize), 0o644) }, ""},
		"too long":           {func(path string) error { return os.WriteFile(path, make([]byte, MaxSize+1), 0o644) }, "is too long"},
		"huge and empty":     {func(path string) error { return errors.Join(file(0o644, 0)(path), os.Truncate(path, 1<<40)) }, "is too long"},
		"of a user":          {file(0o644, 31001), "does not belong to root"},
		"of a user, closed":  {file(0o400, 31001), "does not belong to root"},
		"the group writes":   {file(0o664, 0), "can be written by others"},
		"everybody writes":   {file(0o646, 0), "can be written by others"},
		"none":               {func(string) error { return nil }, "no such file"},
		"a directory":        {func(path string) error { return os.Mkdir(path, 0o755) }, "is not a regular file"},
		"a link to root's":   {func(path string) error { return os.Symlink("/etc/passwd", path) }, "too many levels of symbolic links"},
		"a FIFO, no writer":  {func(path string) error { return unix.Mkfifo(path, 0o600) }, "is not a regular file"},
		"a device of root's": {func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) }, "is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			text, err := Read(path)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%d bytes, %v; it should be: %s", len(text), err, c.want)
				}
				return
			}
			if want, _ := os.ReadFile(path); err != nil || !bytes.Equal(text, want) {
				t.Errorf("%d bytes of %d, %v", len(text), len(want), err)
			}
		})
	}
}

func file(mode os.FileMode, owner int) func(string) error {
	return func(path string) error {
		return errors.Join(os.WriteFile(path, []byte("text\n"), 0o600), os.Chown(path, owner, owner), os.Chmod(path, mode))
	}
}
