// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A keeper that is ending its container is waited for, and no longer than that.
func TestLeaseOfAnEndingContainer(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "debug", "")
	keeper, err := s.take(box + "/lease")
	s.must(err)
	const ends = 300 * time.Millisecond
	start := time.Now()
	time.AfterFunc(ends, func() { keeper.Close() })
	checkLines(t, s.host("", user, "within", "1", isHeld+"held profiles/default/box"), held, "open 0 close 0")
	if took := time.Since(start); took < ends || took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	if asked := s.asked(); asked != "" {
		t.Errorf("asked: %q", asked)
	}
}

// One that never ends costs the login the time of `timeout`; root's side has half of it to end
// that container.
func TestLeaseThatIsNeverFree(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, log, out string }{
		"for ever":            {"", "cannot be had: /var/lib/berth/" + strings.TrimPrefix(box, "berth/") + "/lease: still locked when the time was up", ""},
		"root's side ends it": {"rm profiles/default/box/lease", "", held},
		"berth hangs, too":    {"exec sleep 1000", "and was killed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContainerSite(t, "timeout=1", c.script)
			log := s.listen()
			_, err := s.take(box + "/lease")
			s.must(err)
			s.keep()
			start := time.Now()
			out := s.host("", user, "within", "1", isHeld+"held profiles/default/box")
			if took := time.Since(start); took > 15*time.Second { // of a busy machine
				t.Errorf("took %v", took)
			}
			checkLines(t, out, "open 0 close 0", c.out)
			checkApplication(t, out)
			if asked := s.asked(); asked != "prepare 4711\n" {
				t.Errorf("asked: %q", asked)
			}
			checkLines(t, log.lines(), c.log)
			s.checkNothingRuns()
		})
	}
}

// The container's root may put anything into its directory. What is no lease of root's is not
// touched, and keeps nobody waiting.
func TestLeaseThatIsNone(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]string{
		"a link to a file of root's": "ln -s $S/victim $L",
		"a dangling link":            "ln -s $S/nothing $L",
		"a hard link":                "ln $S/victim $L",
		"a FIFO":                     "mkfifo $L",
		"a directory":                "mkdir $L",
		"a device":                   "mknod $L c 1 5",
		"a user's":                   "touch $L; chown 4711 $L",
		"a socket":                   "ln $B/socket $L",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContainerSite(t, "", "")
			s.write("victim", "precious", 0o640)
			s.must(os.Chtimes(filepath.Join(s.dir, "victim"), time.Unix(1, 0), time.Unix(1, 0)))
			log := s.listen()
			out := s.host("B=$S/"+box+" L=$S/"+box+"/lease; "+plant, user, "within", "1", "ls -l /proc/$PPID/fd | grep /box && echo it is open || true")
			checkLines(t, out, "open 0 close 0")
			checkApplication(t, out)
			if strings.Contains(out, "it is open") {
				t.Errorf("%s", out)
			}
			checkLines(t, log.lines(), "the container of nina cannot be had: /var/lib/berth/profiles/default/box/lease: ")
			if st, err := os.Stat(filepath.Join(s.dir, "victim")); err != nil || st.Mode() != 0o640 || st.ModTime().Unix() != 1 {
				t.Errorf("the victim was touched: %v, %v", st, err)
			}
			if _, err := os.Lstat(filepath.Join(s.dir, "nothing")); err == nil {
				t.Error("a file was made behind a link")
			}
		})
	}
	// Root's own file that others could open, and so hold, is root's alone from now on.
	s := newContainerSite(t, "", "")
	s.write(box+"/lease", "", 0o666)
	checkLines(t, s.host("", user, "within", "1", isHeld+"held profiles/default/box"), held)
	if st, err := os.Stat(filepath.Join(s.dir, box, "lease")); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
}

// Only a link of root's, of one form, through directories of root's, leads to a container.
func TestLinkThatIsNone(t *testing.T) {
	t.Parallel()
	link := func(to string) string { return "ln -sfn '" + to + "' $S/berth/users/4711" }
	for name, spoil := range map[string]string{
		"upwards":             link("../profiles/../etc"),
		"further up":          link("../../profiles/default/box"),
		"absolute":            link("/var/lib/berth/profiles/default/box"),
		"one name":            link("../profiles/default"),
		"three names":         link("../profiles/default/box/sub") + "; mkdir $B/sub",
		"a slash at the end":  link("../profiles/default/box/"),
		"two slashes":         link("../profiles//box"),
		"a dot":               link("../profiles/./box"),
		"hidden":              link("../profiles/default/.box") + "; mkdir $P/default/.box",
		"odd characters":      link("../profiles/default/b x") + "; mkdir \"$P/default/b x\"",
		"too long":            link("../profiles/default/"+strings.Repeat("b", 129)) + "; mkdir $P/default/" + strings.Repeat("b", 129),
		"far too long":        link("../profiles/default/" + strings.Repeat("b/", 1000)),
		"a file":              "rm $S/berth/users/4711; echo ../profiles/default/box >$S/berth/users/4711",
		"a user's link":       "chown -h 4711 $S/berth/users/4711",
		"it dangles":          link("../profiles/default/gone"),
		"to a file":           link("../profiles/default/file") + "; touch $P/default/file",
		"to a link":           link("../profiles/default/link") + "; ln -s box $P/default/link",
		"a profile is a link": link("../profiles/other/box") + "; ln -s default $P/other",
		"a user's directory":  "chown 4711 $B",
		"a world's directory": "chmod 777 $B",
		"a user's profile":    "chown 4711 $P/default",
		"a user's profiles":   "chown 4711 $P",
		"a user's users":      "chown 4711 $S/berth/users",
		"a world's users":     "chmod 1777 $S/berth/users",
		"users is a link":     "mv $S/berth/users $S/berth/real; ln -s real $S/berth/users",
		"a user's state":      "chown 4711 $S/berth",
		"no users":            "rm -r $S/berth/users",
		"no profiles":         "rm -r $P",
		"nothing at all":      "umount /var/lib/berth; rmdir /var/lib/berth",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContainerSite(t, "", "")
			log := s.listen()
			out := s.host("B=$S/"+box+" P=$S/berth/profiles; "+spoil, user, "within", "1", "ls -l /proc/$PPID/fd | grep /lease && echo it is open || true")
			checkLines(t, out, "open 0 close 0")
			checkApplication(t, out)
			if strings.Contains(out, "it is open") {
				t.Errorf("%s", out)
			}
			checkLines(t, log.lines(), "the container of nina cannot be had: /var/lib/berth/")
			if leases := s.shell("find " + s.dir + "/berth -name lease"); leases != "" {
				t.Errorf("made: %s", leases)
			}
		})
	}
}

// Whatever becomes of berth, or of the worker that runs it: the session opens, in time, the
// cause is in the log, and the host is as before.
func TestBadPreparers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, how, log string }{
		"hangs":                  {script: "exec sleep 1000", log: "and was killed"},
		"hangs with its output":  {script: "sleep 1000 & exit 1", log: "prepare: /usr/sbin/berth: exit status 1"},
		"dies":                   {script: "kill -9 $$", log: "prepare: /usr/sbin/berth: signal: killed"},
		"fails with a reason":    {script: "echo 'the engine does not answer' >&2; exit 1", log: "prepare: the engine does not answer"},
		"rubbish":                {script: "head -c 10000000 /dev/urandom; printf '\\nR0\\nU told\\n'; exit 1", log: "prepare: /usr/sbin/berth: exit status 1"},
		"much":                   {script: "yes | head -c 1000000", log: "prepare: 499980 lines more"},
		"missing":                {how: "rm $S/sbin/berth", log: "no such file or directory"},
		"others may write it":    {how: "chmod 777 $S/sbin/berth", log: "others than its owner may write it"},
		"the worker hangs":       {how: workerScript("exec sleep 1000"), log: "was not done after 1 s and was killed"},
		"the worker dies":        {how: workerScript("kill -SEGV $$"), log: "ended without a result: signal 11"},
		"the worker is of today": {how: workerScript(`printf 'Rubbish\nEwhat\n' >&3`), log: "what"},
		"the worker is gone":     {how: "rm $M", log: "could not be run: No such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContainerSite(t, "timeout=1", c.script)
			s.exchange("container timeout=1", c.how)
			s.must(os.Remove(filepath.Join(s.dir, box, "socket")))
			log := s.listen()
			if name != "hangs with its output" { // which is nobody's to end
				s.keep()
			}
			start := time.Now()
			out := s.host("", user, "after", "sh "+s.dir+"/how")
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			checkLines(t, out, "open 0 close 0")
			s.checkFree(box + "/lease") // and it was made
			checkApplication(t, out)
			if strings.Contains(out, "says") {
				t.Errorf("the user was told something: %s", out)
			}
			text := log.lines()
			checkLines(t, text, c.log, "nobody serves in the container of nina, /var/lib/berth/profiles/default/box")
			if strings.Count(text, "\n") > 45 {
				t.Errorf("the log:\n%s", text)
			}
			if s.kept != "" {
				s.checkNothingRuns()
			}
		})
	}
}

// pam_limits stands before the line, and a user's limits are not berth's.
func TestLimitsOfThePreparer(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "", `exec bash -c '(for l in f v n s c t d; do printf "%s=%s " $l $(ulimit -$l); done; nice; ls -l /proc/self/fd | grep -c lease) >limits'`)
	s.must(os.Remove(filepath.Join(s.dir, "berth/users/4711")))
	s.must(os.Remove(filepath.Join(s.dir, box, "socket")))
	s.link("../profiles/default/box")
	// Soft ones: root of a container, as of this machine perhaps, may not raise the others.
	out := s.host("ulimit -S -f 1 -v 300000 -n 24 -s 512 -u 1; set -- nice -n 15 \"$@\"", user, "plain")
	checkLines(t, out, "open 0 close 0")
	const want = "f=unlimited v=unlimited n=1024 s=8192 c=0 t=unlimited d=unlimited 0\n0\n"
	if got := s.text(filepath.Join(s.dir, "berth/limits")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// While others swap the link, the directories and the lease, each session has a lease of where
// the link led at some time, or none, and nothing is left open.
func TestLeaseUnderAttack(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "timeout=1", "")
	s.write("victim", "precious", 0o600)
	s.keep()
	end := make(chan struct{})
	ended := make(chan int)
	go func() {
		// The container's root does this.
		n, dir := 0, filepath.Join(s.dir, box)
		for {
			select {
			case <-end:
				ended <- n
				return
			default:
			}
			n++
			for _, step := range []error{
				os.Symlink("../../../../victim", dir+"/new"), os.Rename(dir+"/new", dir+"/lease"),
				os.WriteFile(dir+"/new", nil, 0o600), os.Rename(dir+"/new", dir+"/lease"),
				os.Link(filepath.Join(s.dir, "victim"), dir+"/new"), os.Rename(dir+"/new", dir+"/lease"),
				os.Remove(dir + "/lease"),
			} {
				_ = step // the module makes a lease in between
			}
		}
	}()
	out := s.host("", user, "storm", "300")
	close(end)
	if n := <-ended; n < 20 {
		t.Errorf("%d rounds of the attacker: this shows nothing", n)
	}
	checkLines(t, out, "result 0 300\n")
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(s.dir, "victim"), &st); err != nil || s.text(filepath.Join(s.dir, "victim")) != "precious" || st.Mode&0o777 != 0o600 {
		t.Errorf("the victim: %v, %o", err, st.Mode)
	}
	if got := fmt.Sprint(s.processes()); got != "[]" {
		t.Errorf("left: %s", got)
	}
}

// The kernel drops the lease of a host that was killed; what it has started has none.
func TestLeaseOfAKilledHost(t *testing.T) {
	t.Parallel()
	s := newContainerSite(t, "", "")
	out := s.host("", user, "within", "1", isHeld+"held profiles/default/box; kill -9 $PPID")
	checkLines(t, out, held)
	if strings.Contains(out, "close") {
		t.Errorf("it lived: %s", out)
	}
	s.checkFree(box + "/lease")
}
