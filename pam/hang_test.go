// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A worker that hangs, here in reading login.defs, is ended in time; also where
// the host that started it is no more.
func TestHungWorker(t *testing.T) {
	t.Parallel()
	for _, dead := range []bool{false, true} {
		s := newSite(t, "timeout=1")
		fifo := filepath.Join(s.dir, "login.defs")
		s.must(os.Remove(fifo))
		s.must(unix.Mkfifo(fifo, 0o600))
		s.keep()
		var out strings.Builder
		host := exec.Command("nsenter", "--mount", "--target", s.kept, built.host, s.dir+"/pam.d", "test", user, "plain")
		host.Stdout = &out
		s.must(host.Start())
		slow := time.AfterFunc(20*time.Second, func() { _ = host.Process.Kill() })
		// Opened once the worker opens it, and never written to.
		writer, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		s.must(err)
		if dead {
			s.must(host.Process.Kill())
		}
		_ = host.Wait()
		slow.Stop()
		if !dead {
			checkLines(t, out.String(), "open 14", "says "+refusalMessage)
			checkApplication(t, out.String())
		}
		s.checkNothingRuns()
		writer.Close()
		s.checkNoHome()
	}
}

// Not even SIGKILL ends who waits for a frozen file system; the login goes on.
func TestFrozenFileSystem(t *testing.T) {
	t.Parallel()
	s := newSite(t, "timeout=1")
	device := strings.TrimSpace(s.shell("cd " + s.dir + "; truncate -s 16M image; mkfs.ext4 -q image; losetup --find --show image"))
	t.Cleanup(func() { s.shell("losetup --detach " + device) })
	log := s.listen()
	s.keep()
	s.exec("mknod /dev/disk b 7 "+strings.TrimPrefix(device, "/dev/loop")+"; mount /dev/disk $S/home; rmdir $S/home/lost+found; mount --bind $S/home /home; fsfreeze --freeze /home", "true")
	thaw := func() { s.exec("", "sh", "-c", "fsfreeze --unfreeze /home 2>/dev/null || :") }
	defer thaw()
	out := s.session("", user)
	checkLines(t, out, "open 14", "says "+refusalMessage)
	if len(s.processes()) == 0 {
		t.Error("nothing hung: this shows nothing")
	}
	thaw()
	s.checkNothingRuns()
	checkLines(t, s.session("", user), "open 0")
	checkLines(t, log.lines(), "was not done after 1 s", "does not die and is left behind")
	if got := s.exec("", "sh", "-c", "ls -A /home; ls -A /home/nina"); got != "nina\n.profile\n.ssh\nlink\nsub\n" {
		t.Errorf("made: %q", got)
	}
}

// What a site's script runs ends with the worker that runs it.
func TestScriptOfAKilledWorker(t *testing.T) {
	t.Parallel()
	killer := compileTestdata(t, "kill")
	dir, path := program(t, `[ $PAM_TYPE = close_session ] || { echo $$ >$(dirname $0)/pid; echo hello; exec sleep 1000; }`)
	s := newSite(t, "timeout=3600 exec_failure=deny exec="+path)
	s.keep()
	prepare := "install -d -o 4711 -g 4711 /home/nina /home/nina/.ssh; >/home/nina/.ssh/authorized_keys"
	out := s.exec(prepare, killer, "1", "worker", built.host, s.dir+"/pam.d", "test", user, "silent")
	checkLines(t, out, "killed in berth-exec-2 at write", "open 14") // at saying hello
	s.text(filepath.Join(dir, "pid"))
	s.checkNothingRuns()
}
