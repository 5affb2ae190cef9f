// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzArguments: whatever is accepted names a user and a home that may be made.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"user=nina\nuid=4711\ngid=4711\nhome=/home/nina", "user=nina\nuid=4711\ngid=4711\nhome=/home/../nina/\nskel=/etc/skel/\numask=0077",
		"user=\nuid=4294967295\ngid=0\nhome=/", "user=nina\nuid=-1\ngid=+1\nhome=//\numask=1000", "user=a\nuser=b\nuid=1\ngid=1\nhome=/x", "home", "=", "",
		"user=nina\nuid=4711\ngid=4711\nhome=/home/nina\nauthorized_keys=/etc/keys/%u\nssh_dir=no\nmode=0700\nexisting=repair\nexec=/usr/local/sbin/x\nexec_failure=deny\ntimeout=5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) {
			return // no argument of a program holds one
		}
		args := strings.Split(text, "\n")
		if _, err := parse(args); err == nil && (len(args) < 2 || args[1] != mark) {
			t.Errorf("%q is taken without the mark", args)
		}
		r, err := parse(append([]string{"pam_berth", mark}, args...))
		if err != nil {
			if said := printable(err.Error()); strings.ContainsAny(said, "\n\r\x1b\x7f") {
				t.Errorf("the error could forge a line: %q", said)
			}
			return
		}
		seen := map[string]bool{}
		for _, arg := range args {
			key, _, _ := strings.Cut(arg, "=")
			if seen[key] {
				t.Errorf("%s comes twice and is taken", key)
			}
			seen[key] = true
		}
		if !seen["user"] || !seen["uid"] || !seen["gid"] || !seen["home"] {
			t.Errorf("%q is taken", args)
		}
		if !filepath.IsAbs(r.Path) || filepath.Clean(r.Path) != r.Path || r.Path == "/" {
			t.Errorf("home %q is taken", r.Path)
		}
		for _, id := range []int{r.UID, r.GID} {
			if id <= 0 || id >= 1<<32-1 {
				t.Errorf("id %d is taken", id)
			}
		}
		if r.Umask > 0o777 || r.UmaskGiven != seen["umask"] || r.SkelGiven != seen["skel"] {
			t.Errorf("%+v of %q", r, args)
		}
		if again, err := parse(append([]string{"x", mark}, args...)); err != nil || fmt.Sprint(again) != fmt.Sprint(r) {
			t.Errorf("another time: %+v, %v; first %+v", again, err, r)
		}
	})
}

// FuzzPrintable: a message stays one line of the log and says the rest as it is.
func FuzzPrintable(f *testing.F) {
	f.Add("plain")
	f.Add("a\nb\x1b[31m\x7f\x00ü")
	f.Fuzz(func(t *testing.T, text string) {
		said := printable(text)
		if strings.ContainsFunc(said, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q becomes %q", text, said)
		}
		if utf8.ValidString(text) && !utf8.ValidString(said) {
			t.Errorf("%q becomes %q", text, said)
		}
	})
}

// cSide is the module's C side with a worker that says what it is told, built
// with the sanitizers.
type cSide struct {
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
	err bytes.Buffer
}

func startCSide(f *testing.F) *cSide {
	f.Helper()
	dir, err := os.MkdirTemp("", "pam_fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	sources, err := filepath.Glob("*.c")
	if err != nil {
		f.Fatal(err)
	}
	argv := []string{"-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", dir + "/fuzz", "testdata/fuzz.c"}
	for _, source := range sources {
		if source != "program.c" { // it is the worker's
			argv = append(argv, source)
		}
	}
	if out, err := exec.Command("gcc", append(argv, "-lpam", "-ldl")...).CombinedOutput(); err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(dir+"/fuzz.d", 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(dir+"/fuzz.d/fuzz", []byte("session required pam_permit.so\n"), 0o644); err != nil {
		f.Fatal(err)
	}
	c := &cSide{cmd: exec.Command(dir+"/fuzz", dir+"/fuzz.d")}
	c.cmd.Stderr = &c.err
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		f.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		c.in.Close()
		if err := c.cmd.Wait(); err != nil { // a leak is said at the end
			f.Errorf("%v\n%s", err, c.err.String())
		}
	})
	return c
}

// FuzzWorkerSays: whatever a worker says, the C side does not crash, logs few
// lines, each one line, and returns a PAM code; a result that was said is it.
func FuzzWorkerSays(f *testing.F) {
	for _, seed := range []string{
		"", "R0\n", "R6\n", "R99999999999999999999\n", "R-1\n", "Ewrong\nUsorry\nWhm\nDfine\nR14\n", "U%s%n\nE%s%n\nR0\n", "R0", "\n\n\n", "E\x00hidden\nR0\n",
		"panic: x\n\ngoroutine 1 [running]:\nmain.main()\n", strings.Repeat("Eline\n", 100) + "R0\n", strings.Repeat("x", 511) + "R0\n" + strings.Repeat("y", 2000),
		"U\n", strings.Repeat("U\x1b]0;x\a\n", 50), "R6\nR0\n",
	} {
		f.Add([]byte(seed))
	}
	c := startCSide(f)
	f.Fuzz(func(t *testing.T, said []byte) {
		if _, err := fmt.Fprintf(c.in, "%d\n%s", len(said), said); err != nil {
			t.Fatalf("%v\n%s", err, c.err.String())
		}
		line, err := c.out.ReadString('\n')
		var result, logged, told, longest, odd int
		if _, serr := fmt.Sscanf(line, "result %d logged %d told %d longest %d odd %d", &result, &logged, &told, &longest, &odd); serr != nil {
			c.cmd.Wait()
			t.Fatalf("%q, %v\n%s", line, err, c.err.String())
		}
		// One line more says that there was no result.
		if result < 0 || result >= 32 || logged+told > 41 || longest > 511 || odd > 0 {
			t.Errorf("%s", line)
		}
		// The first line that is a result, if nothing before could be one.
		first, _, _ := bytes.Cut(said, []byte("\n"))
		if code, err := strconv.ParseUint(strings.TrimPrefix(string(first), "R"), 10, 8); err == nil && first[0] == 'R' && len(first) < len(said) && code < 32 && result != int(code) {
			t.Errorf("said %q, got %s", first, line)
		}
		if !bytes.Contains(said, []byte("R")) && result == 0 {
			t.Errorf("success out of %q", said)
		}
	})
}
