// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the tests share: the module and two PAM applications, all just built. One is
// this program.
var built struct{ module, application, host, attacker, refuse string }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == applicationName {
		os.Exit(application(os.Args[2:]))
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	// A fuzzer's further processes need no module, and would build it at once.
	flag.Parse()
	if f := flag.Lookup("test.fuzzworker"); f != nil && f.Value.String() == "true" {
		return m.Run()
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "pam_berth")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	built.module, built.host, built.attacker = filepath.Join(dir, "pam_berth.so"), filepath.Join(dir, "host"), filepath.Join(dir, "attacker")
	built.refuse = filepath.Join(dir, "refuse")
	built.application = filepath.Join(dir, "application") // where every user may execute it
	for _, argv := range [][]string{
		{"sh", "build.sh", built.module},
		{"install", "-m", "755", self, built.application},
		{"gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", built.host, "testdata/host.c", "testdata/look.c", "testdata/odd.c", "testdata/traits.c", "-lpam", "-lpthread"},
		{"gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", built.attacker, "testdata/attacker.c"},
		{"gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", built.refuse, "testdata/refuse.c"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%q: %v\n%s", argv, err, out)
			return 1
		}
	}
	return m.Run()
}

// site is a host with one user, in a mount namespace of its own, and PAM
// services that have no other module than ours.
type site struct {
	t        *testing.T
	dir      string
	logged   bool   // /dev/log is the site's
	more     string // what else is mounted, in shell
	kept     string // the process that keeps the namespace, or "" where each run has its own
	secluded bool   // each run sees no other's processes, either
	// patience is how long the application may take.
	patience time.Duration
}

const user, uid = "nina", 4711

func newSite(t *testing.T, options string) *site {
	t.Helper()
	// Not t.TempDir: its parent is root's alone, and some hosts are not root.
	dir, err := os.MkdirTemp("", "pam_site")
	s := &site{t: t, dir: dir, patience: time.Minute}
	s.must(err)
	t.Cleanup(func() { s.must(os.RemoveAll(dir)) })
	s.must(os.Chmod(dir, 0o755))
	for _, d := range []string{"home", "skel/sub", "pam.d"} {
		s.must(os.MkdirAll(filepath.Join(s.dir, d), 0o755))
	}
	s.write("skel/.profile", "profile\n", 0o644)
	s.write("skel/sub/run", "#!/bin/sh\n", 0o755)
	s.must(os.Symlink("sub/run", filepath.Join(s.dir, "skel/link")))
	s.write("passwd", fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::/home/%s:/bin/sh\nsys:x:100:100::/home/sys:/bin/sh\nrel:x:4712:4712::relative:/bin/sh\n", user, uid, uid, user), 0o644)
	s.write("login.defs", "UMASK 027\n", 0o644)
	s.write("pam.d/test", "session required "+built.module+" "+options+"\nauth required "+built.module+"\naccount required "+built.module+"\npassword required "+built.module+"\n", 0o644)
	s.write("pam.d/other", "session required pam_deny.so\n", 0o644)
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	s.must(os.WriteFile(path, []byte(text), mode))
	s.must(os.Chmod(path, mode))
}

// session has a user's session opened and closed in the site's namespace, by the
// application; before is a shell line for it.
func (s *site) session(before, user string, flags ...string) string {
	s.t.Helper()
	return s.exec(before, append([]string{built.application, applicationName, s.dir + "/pam.d", "test", user}, flags...)...)
}

// host has the application in C do what args say.
func (s *site) host(before string, args ...string) string {
	s.t.Helper()
	return s.exec(before, append([]string{built.host, s.dir + "/pam.d", "test"}, args...)...)
}

// exec runs a command in the site's namespace.
func (s *site) exec(before string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	out, err := s.command(ctx, before, args...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		s.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *site) command(ctx context.Context, before string, args ...string) *exec.Cmd {
	enter := []string{"unshare", "--mount", "--propagation", "private"}
	if s.secluded {
		enter = append(enter, "--pid", "--fork", "--kill-child", "--mount-proc")
	}
	script := s.mounts() + before
	if s.kept != "" {
		enter, script = []string{"nsenter", "--mount", "--target", s.kept}, "set -e; S="+s.dir+"; cd /; "+before
	}
	argv := append(append(enter, "bash", "-c", script+"\nexec \"$@\"", "sh"), args...)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

// mounts is the shell script that makes the site of a new namespace.
func (s *site) mounts() string {
	script := fmt.Sprintf(`set -e; S=%[1]s; cd /; for f in passwd login.defs; do mount --bind %[1]s/$f /etc/$f; done; mount --bind %[1]s/home /home; mount --bind %[1]s/skel /etc/skel
`, s.dir)
	if s.logged {
		script += devLog
	}
	return script + s.more
}

func (s *site) home(parts ...string) string {
	return filepath.Join(append([]string{s.dir, "home", user}, parts...)...)
}

// checkHome checks that the home is there, all of it, with the right owner and modes.
func (s *site) checkHome(home uint32) {
	s.t.Helper()
	for name, want := range map[string]uint32{
		"": unix.S_IFDIR | home, ".ssh": unix.S_IFDIR | 0o700, ".ssh/authorized_keys": unix.S_IFREG | 0o600,
		".profile": unix.S_IFREG | 0o644&home, "sub": unix.S_IFDIR | 0o755&home, "sub/run": unix.S_IFREG | 0o755&home, "link": unix.S_IFLNK | 0o777,
	} {
		var st unix.Stat_t
		if err := unix.Lstat(s.home(name), &st); err != nil {
			s.t.Errorf("%s: %v", name, err)
		} else if st.Mode != want || st.Uid != uid || st.Gid != uid {
			s.t.Errorf("%q: mode %o, owner %d:%d; want %o", name, st.Mode, st.Uid, st.Gid, want)
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "home"))
	if err != nil || len(entries) != 1 {
		s.t.Errorf("left beside the home: %v, %v", entries, err)
	}
}

func checkLines(t *testing.T, out string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(out, line) {
			t.Errorf("lacks %q:\n%s", line, out)
		}
	}
}

// checkApplication checks what the application says of itself before, in and after a session.
func checkApplication(t *testing.T, out string) {
	t.Helper()
	states := map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		if when, rest, ok := strings.Cut(line, " "); ok {
			states[when] += rest + "\n"
		}
	}
	if !strings.Contains(states["before"], "Threads:\t1\n") || states["started"] != states["before"] || states["after"] != states["before"] {
		t.Errorf("the host was changed:\n%s", out)
	}
	checkLines(t, states["after"], "SigCgt:\t0000000000000000")
	checkLines(t, states["children"], "none")
}

// Loading the module starts nothing: one thread, no handler, before and after.
func TestHostIsUntouched(t *testing.T) {
	s := newSite(t, "")
	for _, round := range []string{"first", "again"} {
		out := s.host("", user, "plain")
		checkLines(t, out, "open 0 close 0")
		checkApplication(t, out)
		if told := strings.Contains(out, "says Creating directory '/home/nina'."); told != (round == "first") {
			t.Errorf("%s: %s", round, out)
		}
	}
	s.checkHome(0o750)
}

func TestOtherHooksAreUnknown(t *testing.T) {
	out := newSite(t, "").host("", user, "hooks")
	checkLines(t, out, "hooks 28 28 28 28") // PAM_MODULE_UNKNOWN
}

// A host may fork between pam_start and the session.
func TestForkingHosts(t *testing.T) {
	for _, wait := range []string{"0", "20"} {
		s := newSite(t, "")
		for range 10 {
			s.must(os.RemoveAll(s.home()))
			checkLines(t, s.host("", user, "fork", wait), "open 0 close 0")
		}
		s.checkHome(0o750)
	}
}

func TestSmallLimits(t *testing.T) {
	s := newSite(t, "")
	checkLines(t, s.host("ulimit -S -n 8; ulimit -S -u 1; ulimit -S -v 204800; ulimit -S -f 1", user, "plain"), "open 0 close 0")
	s.checkHome(0o750)
}

func TestOptions(t *testing.T) {
	s := newSite(t, "silent umask=077 nonsense")
	out := s.session("", user)
	checkLines(t, out, "open 0 close 0")
	if strings.Contains(out, "says") {
		t.Errorf("silent: %s", out)
	}
	s.checkHome(0o700)
	s = newSite(t, "")
	s.write("login.defs", "UMASK 022\nHOME_MODE 0711\n", 0o644)
	s.session("", user)
	if st, err := os.Stat(s.home()); err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("HOME_MODE: %v, %v", st, err)
	}
	s = newSite(t, "skel=/nonexistent")
	checkLines(t, s.session("", user), "open 6", "says Unable to create and initialize directory '/home/nina'")
	if left, _ := os.ReadDir(filepath.Join(s.dir, "home")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Whom the module does not serve.
func TestOthers(t *testing.T) {
	s := newSite(t, "")
	for name, answer := range map[string]string{"root": "open 0", "sys": "open 0", "nobody-knows": "open 10", "rel": "open 6"} {
		checkLines(t, s.session("", name), answer)
	}
	if left, _ := os.ReadDir(filepath.Join(s.dir, "home")); len(left) != 0 {
		t.Errorf("homes were made: %v", left)
	}
	// Without root's rights nothing is done, and nobody is refused.
	out := s.session("chmod 777 "+s.dir+"/home; set -- setpriv --reuid 4711 --regid 4711 --clear-groups \"$@\"", user)
	checkLines(t, out, "open 0 close 0")
}

// What a user has planted where her keys go is neither followed nor changed,
// and keeps nobody waiting.
func TestPlantedKeys(t *testing.T) {
	for name, plant := range map[string]string{
		".ssh to another place":        "ln -s $D/victim $H/.ssh",
		".ssh a FIFO":                  "mkfifo $H/.ssh",
		".ssh a file":                  "echo mine >$H/.ssh",
		"keys to another place":        "mkdir $H/.ssh; ln -s $D/victim/new $H/.ssh/authorized_keys",
		"keys a FIFO":                  "mkdir $H/.ssh; mkfifo $H/.ssh/authorized_keys",
		"keys another's file":          "mkdir $H/.ssh; ln $D/victim/secret $D/home/nina/.ssh/authorized_keys",
		"a .ssh that is root's":        "mkdir -m 700 $H/.ssh; chown root $H/.ssh; KEEP=1",
		"no rights in her own home":    "chmod 500 $H",
		"a home that is a link to one": "mv $H $H.real; ln -s $H.real $H",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "debug")
			before := "D=" + s.dir + " H=/home/nina; mkdir -p $D/victim; echo secret >$D/victim/secret; chmod 600 $D/victim/secret; chmod 755 $D/victim; mkdir -m 700 $H; " +
				plant + "; chown -h nina:4711 $H/.ssh 2>/dev/null || :; chown nina $H; [ -z \"$KEEP\" ] || chown root $H/.ssh"
			checkLines(t, s.session(before, user), "open 0 close 0")
			entries, err := os.ReadDir(filepath.Join(s.dir, "victim"))
			var st unix.Stat_t
			if err != nil || len(entries) != 1 || unix.Stat(filepath.Join(s.dir, "victim/secret"), &st) != nil || st.Uid != 0 || st.Mode&0o777 != 0o600 {
				t.Errorf("the victim was touched: %v, %v, %o by %d", entries, err, st.Mode, st.Uid)
			}
		})
	}
}

// shell runs a line outside of the site's namespace.
func (s *site) shell(line string) string {
	s.t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}
