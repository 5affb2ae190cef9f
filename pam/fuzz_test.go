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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"berth/pam/internal/home"
)

// FuzzArguments: whatever is accepted names a user and a home that she may have,
// and a script gets what PAM says and nothing else.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"user=nina\nuid=4711\ngid=4711\nhome=/home/nina", "user=nina\nuid=4711\ngid=4711\nhome=/home/../nina/\nskel=/etc/skel/\numask=0077\ngroups=1,2",
		"user=\nuid=4294967295\ngid=0\nhome=/", "user=nina\nuid=-1\ngid=+1\nhome=//\numask=1000", "user=a\nuser=b\nuid=1\ngid=1\nhome=/x", "home", "=", "",
		"user=nina\nuid=4711\ngid=4711\nhome=/home/nina\nauthorized_keys=/etc/keys/%u\nssh_dir=no\nmode=0700\nexisting=repair",
		"user=nina\nuid=4711\ngid=4711\nhome=/home/nina\nexec=/usr/local/sbin/x\ntimeout=5\nPAM_TYPE=open_session\nPAM_RHOST=a b=c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) {
			return // no argument of a program holds one
		}
		argv := strings.Split(text, "\n")
		if _, _, err := parseArguments(argv); err == nil && argumentKeys[argv[1]] == nil {
			t.Errorf("%q is taken without a task", argv)
		}
		for task := range argumentKeys {
			_, args, err := parseArguments(append([]string{"pam_berth", task}, argv...))
			if err != nil {
				if said := printable(err.Error()); strings.ContainsAny(said, "\n\r\x1b\x7f") {
					t.Errorf("the error could forge a line: %q", said)
				}
				continue
			}
			if len(args) != len(argv) {
				t.Errorf("%q became %q", argv, args)
			}
			checkHome(t, args)
			checkExec(t, args)
		}
	})
}

func checkHome(t *testing.T, args arguments) {
	t.Helper()
	complaints := 0
	r, err := homeRequest(args, func(string) { complaints++ })
	if err != nil {
		return
	}
	if r.User == "" || !filepath.IsAbs(args["home"]) || !filepath.IsAbs(r.Path) || filepath.Clean(r.Path) != r.Path || !filepath.IsAbs(r.Skel) {
		t.Errorf("%+v of %q", r, args)
	}
	for _, id := range append([]int{r.UID, r.GID}, r.Groups...) {
		if id <= 0 || id >= 1<<32-1 {
			t.Errorf("id %d is taken", id)
		}
	}
	if r.Umask > 0o777 || r.Mode > 0o777 || !slices.Contains([]home.Existing{home.Ignore, home.Warn, home.Repair, home.Deny}, r.Existing) {
		t.Errorf("%+v of %q", r, args)
	}
	// What was given is obeyed or complained of.
	_, umask := args["umask"]
	if umask && !r.UmaskGiven && complaints == 0 {
		t.Errorf("umask=%q is neither taken nor told", args["umask"])
	}
}

func checkExec(t *testing.T, args arguments) {
	t.Helper()
	c, err := execRequest(args)
	if err != nil {
		return
	}
	if c.Timeout < time.Second {
		t.Errorf("timeout %v", c.Timeout)
	}
	for _, entry := range c.Env {
		if name, _, _ := strings.Cut(entry, "="); name != "PATH" && !strings.HasPrefix(name, "PAM_") {
			t.Errorf("%q is in its environment", entry)
		}
	}
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

var success = regexp.MustCompile(`(?m)^R0+$`)

// FuzzWorkerSays: whatever a worker says, the C side does not crash, logs few
// lines, each one line, and returns a PAM code; a result that was said is it.
func FuzzWorkerSays(f *testing.F) {
	for _, seed := range []string{
		"", "R0\n", "R6\n", "R99999999999999999999\n", "R-1\n", "Ewrong\nUsorry\nWhm\nDfine\nR14\n", "U%s%n\nE%s%n\nR0\n", "R0", "\n\n\n", "E\x00hidden\nR0\n",
		"panic: x\n\ngoroutine 1 [running]:\nmain.main()\n", strings.Repeat("Eline\n", 100) + "R0\n", strings.Repeat("x", 511) + "R0\n" + strings.Repeat("y", 2000),
		"U\n", strings.Repeat("U\x1b]0;x\a\n", 50), "R6\nR0\n",
		strings.Repeat("Eline\n", 100) + "Re\n", "Rubbish\n", "R\n", "X002\n", "Xmen\n", "E\xc2\x9b\xc2\n", strings.Repeat("x", 600) + "R0\n", "R" + strings.Repeat("0", 600) + "x\n",
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
		// One line more for the log, and one for her, say that there was no result.
		if result < 0 || result >= 32 || logged > 41 || told > 2 || logged+told > 42 || longest > 511 || odd > 0 {
			t.Errorf("%s", line)
		}
		// The first line that is a result, if nothing before could be one.
		first, _, _ := bytes.Cut(said, []byte("\n"))
		if code, err := strconv.ParseUint(strings.TrimPrefix(string(first), "R"), 10, 8); err == nil && first[0] == 'R' && len(first) < len(said) && code < 32 && result != int(code) {
			t.Errorf("said %q, got %s", first, line)
		}
		if result == 0 && !success.Match(said) {
			t.Errorf("success out of %q", said)
		}
	})
}
