// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const owner = 4711

// newParent is a directory that homes may be made in: every directory above it is
// root's alone, which /tmp is not.
func newParent(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var", "berth-home-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func request(t *testing.T, path string) Request {
	t.Helper()
	skel := t.TempDir()
	for name, text := range map[string]string{".profile": "hello\n", "many": strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(filepath.Join(skel, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Request{User: "nina", UID: owner, GID: owner, Path: path, Skel: skel, SkelGiven: true, Umask: 0o077, UmaskGiven: true}
}

func TestParentsAreMadeAndChecked(t *testing.T) {
	dir := newParent(t)
	path := filepath.Join(dir, "a/b/nina")
	if made, err := Open(request(t, path), dropWarning); err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	for _, p := range []string{"a", "a/b"} {
		st, err := os.Stat(filepath.Join(dir, p))
		if err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", p, st, err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if made, err := Open(request(t, filepath.Join(dir, "link/otto")), dropWarning); err != nil || !made {
		t.Errorf("through root's own link: %v, %v", made, err)
	}
	for name, spoil := range map[string]func(string) error{
		"writable":                   func(p string) error { return os.Chmod(p, 0o777) },
		"another's":                  func(p string) error { return os.Chown(p, owner+1, owner) },
		"hers, and others' to write": func(p string) error { return errors.Join(os.Chown(p, owner, owner), os.Chmod(p, 0o775)) },
	} {
		bad := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(bad, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := spoil(bad); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"nina", "sub/nina", "new/nina"} {
			if made, err := Open(request(t, filepath.Join(bad, path)), dropWarning); err == nil || made {
				t.Errorf("%s/%s: made %v, %v", name, path, made, err)
			}
		}
		if _, err := os.Lstat(filepath.Join(bad, "new")); err == nil {
			t.Errorf("%s: a directory was made in it", name)
		}
	}
}

// Fifty first logins at once: each returns to a whole home, and one made it.
func TestFiftyAtOnce(t *testing.T) {
	if os.Getenv("BERTH_TEST_OPEN") != "" {
		made, err := Open(Request{User: "nina", UID: owner, GID: owner, Path: os.Getenv("BERTH_TEST_OPEN"), Skel: os.Getenv("BERTH_TEST_SKEL"),
			SkelGiven: true, Umask: 0o077, UmaskGiven: true}, dropWarning)
		st, serr := os.Stat(filepath.Join(os.Getenv("BERTH_TEST_OPEN"), "many"))
		if err != nil || serr != nil || st.Size() != 1<<20 {
			t.Fatalf("%v, %v, %v", err, serr, st)
		}
		fmt.Println("made", made)
		return
	}
	dir := newParent(t)
	r := request(t, filepath.Join(dir, "nina"))
	if err := os.Chmod(filepath.Dir(r.Skel), 0o755); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	makers := 0
	for range 50 {
		all.Go(func() {
			// A process each: whoever finds the home there becomes the user.
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestFiftyAtOnce$")
			cmd.Env = append(os.Environ(), "BERTH_TEST_OPEN="+r.Path, "BERTH_TEST_SKEL="+r.Skel)
			out, err := cmd.CombinedOutput()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			makers += strings.Count(string(out), "made true")
		})
	}
	all.Wait()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || makers != 1 {
		t.Errorf("%d made it; left %v, %v", makers, left, err)
	}
}

// What a maker that was killed left is cleared by the next, what one that lives
// works on is not.
func TestSweep(t *testing.T) {
	dir := newParent(t)
	r := request(t, filepath.Join(dir, "nina"))
	prefix := (&maker{Request: r}).prefix()
	dead, living := filepath.Join(dir, prefix+"1.x"), filepath.Join(dir, prefix+"2.x")
	for _, d := range []string{dead, living} {
		if err := os.MkdirAll(filepath.Join(d, "sub/sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := os.Open(living)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(r, dropWarning); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dead); err == nil {
		t.Error("the dead maker's work is still there")
	}
	if _, err := os.Lstat(living); err != nil {
		t.Errorf("the living maker's work: %v", err)
	}
}

// A broken skeleton leaves nothing.
func TestNothingHalfMade(t *testing.T) {
	dir := newParent(t)
	r := request(t, filepath.Join(dir, "nina"))
	deep := r.Skel
	for range maxDepth + 2 {
		deep = filepath.Join(deep, "d")
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if made, err := Open(r, dropWarning); err == nil || made {
		t.Errorf("made %v, %v", made, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func dropWarning(string) {}
