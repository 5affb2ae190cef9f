// SPDX-License-Identifier: Apache-2.0

package home

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openWithSkel makes a skeleton by a shell script, opens a home from it under umask,
// and returns the home and what was said.
func openWithSkel(t *testing.T, umask uint32, script string) (path string, warned []string) {
	t.Helper()
	dir := newParent(t)
	r := request(t, filepath.Join(dir, "nina"))
	// On the file system of the homes: the one of temporary files may keep no attributes.
	r.Skel, r.Umask = filepath.Join(dir, "skel"), umask
	cmd := exec.Command("sh", "-ec", "mkdir "+r.Skel+"; cd "+r.Skel+"; "+script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if made, err := Open(r, func(s string) { warned = append(warned, s) }); err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	return r.Path, warned
}

// FIFOs, sockets and devices of a skeleton are left out, with a word each.
func TestOddEntries(t *testing.T) {
	path, warned := openWithSkel(t, 0o077, `mkdir sub; mkfifo fifo sub/fifo; mknod device c 1 3
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'`)
	for _, name := range []string{"fifo", "sub/fifo", "device", "socket"} {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil || !strings.Contains(strings.Join(warned, "\n"), "skeleton: "+name+" is neither") {
			t.Errorf("%s: %v; warned %q", name, err, warned)
		}
	}
}

// Set-id bits go, modes stay under the umask, names of one file become files.
func TestModesAndHardLinks(t *testing.T) {
	path, _ := openWithSkel(t, 0o027, `echo one >a; ln a b; chmod 4755 a; echo x >read-only; chmod 444 read-only; mkdir -m 2777 shared; ln -s ../out link`)
	modes := map[string]os.FileMode{"a": 0o750, "b": 0o750, "read-only": 0o440, "shared": os.ModeDir | 0o750, "link": os.ModeSymlink | 0o777}
	for name, want := range modes {
		st, err := os.Lstat(filepath.Join(path, name))
		if err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, st, err, want)
		}
		var owned unix.Stat_t
		if err := unix.Lstat(filepath.Join(path, name), &owned); err != nil || owned.Uid != owner || name == "a" && owned.Nlink != 1 {
			t.Errorf("%s: uid %d, %d names, %v", name, owned.Uid, owned.Nlink, err)
		}
	}
}

// A hole stays one, and costs nothing of what a skeleton may hold.
func TestSparseFiles(t *testing.T) {
	path, _ := openWithSkel(t, 0o077, `truncate -s 10G sparse; printf middle | dd of=sparse bs=1 seek=5G conv=notrunc status=none; truncate -s 1G empty`)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(path, "sparse"), &st); err != nil || st.Size != 10<<30 || st.Blocks*512 > 1<<20 {
		t.Errorf("sparse: %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	file, err := os.Open(filepath.Join(path, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text := make([]byte, 6)
	if _, err := file.ReadAt(text, 5<<30); err != nil || !bytes.Equal(text, []byte("middle")) {
		t.Errorf("sparse: %q, %v", text, err)
	}
	if err := unix.Stat(filepath.Join(path, "empty"), &st); err != nil || st.Size != 1<<30 || st.Blocks != 0 {
		t.Errorf("empty: %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
}

// Attributes and access control lists go along, under the umask; capabilities
// and trusted attributes do not.
func TestAttributes(t *testing.T) {
	path, warned := openWithSkel(t, 0o027, `echo x >f; mkdir d; setfattr -n user.color -v blue f; setfattr -n user.color -v red d
setfattr -n trusted.secret -v 1 f; setfacl -m u:4712:rwx f; setfacl -d -m u:4712:rx d
python3 -c 'import os; os.setxattr("f", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))'`)
	if len(warned) > 0 {
		t.Fatalf("warned %q", warned)
	}
	dump := func(command ...string) string {
		out, err := exec.Command(command[0], append(command[1:], filepath.Join(path, "f"), filepath.Join(path, "d"))...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", command, err, out)
		}
		return string(out)
	}
	attributes := dump("getfattr", "--absolute-names", "-d", "-m", "-")
	for _, want := range []string{`user.color="blue"`, `user.color="red"`} {
		if !strings.Contains(attributes, want) {
			t.Errorf("lacks %s:\n%s", want, attributes)
		}
	}
	if strings.Contains(attributes, "trusted") || strings.Contains(attributes, "capability") {
		t.Errorf("too much:\n%s", attributes)
	}
	lists := dump("getfacl", "--absolute-names", "-n")
	// The umask 027 leaves r-x: the list's own rwx is masked.
	for _, want := range []string{"user:4712:rwx", "#effective:r-x", "mask::r-x", "default:user:4712:r-x"} {
		if !strings.Contains(lists, want) {
			t.Errorf("lacks %q:\n%s", want, lists)
		}
	}
}

// A skeleton that is too big or too deep is an error, and leaves nothing.
func TestSkeletonLimits(t *testing.T) {
	for name, script := range map[string]string{
		"entries": fmt.Sprintf("mkdir many; cd many; seq %d | xargs touch", maxEntries+1),
		"bytes":   fmt.Sprintf("dd if=/dev/zero of=big bs=1M count=%d status=none", maxBytes>>20+1),
		"depth":   fmt.Sprintf("for i in $(seq %d); do mkdir d; cd d; done", maxDepth+2),
	} {
		t.Run(name, func(t *testing.T) {
			dir := newParent(t)
			r := request(t, filepath.Join(dir, "nina"))
			r.Skel = t.TempDir()
			if out, err := exec.Command("sh", "-ec", "cd "+r.Skel+"; "+script).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			made, err := Open(r, dropWarning)
			if err == nil || made || !strings.Contains(err.Error(), "more than") {
				t.Errorf("made %v, %v", made, err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
