// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keep makes the site's namespace now, for all runs that follow: they cost less
// so, and whatever outlives one can be found.
func (s *site) keep() {
	s.t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "bash", "-c", s.mounts()+"echo kept; exec cat")
	in, err := cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	cmd.Stderr = cmd.Stdout
	s.must(cmd.Start())
	s.t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "kept\n" {
		s.t.Fatalf("no namespace: %q, %v", line, err)
	}
	s.kept = strconv.Itoa(cmd.Process.Pid)
}

// processes are those in the kept namespace, but for its keeper.
func (s *site) processes() (pids []int) {
	s.t.Helper()
	return slices.DeleteFunc(processesBeside(s.t, s.kept), func(pid int) bool { return strconv.Itoa(pid) == s.kept })
}

// processesBeside are those in the mount namespace of a process, which is one of them.
func processesBeside(t *testing.T, pid string) (pids []int) {
	t.Helper()
	space, err := os.Readlink("/proc/" + pid + "/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if of, err := os.Readlink("/proc/" + e.Name() + "/ns/mnt"); err == nil && of == space {
			pids = append(pids, pid)
		}
	}
	return pids
}

// checkNothingRuns checks that nothing lives on in the namespace, for long: a process that
// was killed may take its time to end.
func (s *site) checkNothingRuns() {
	s.t.Helper()
	for _, pid := range s.processes() {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		end, n := time.Now().Add(10*time.Second), 0
		for n == 0 && time.Now().Before(end) && (err == nil || errors.Is(err, unix.EINTR)) { // Go's own signals interrupt
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds())+1)
			n = max(n, 0)
		}
		if n != 1 {
			s.t.Errorf("%q lives on: %v", text, err)
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
}

// details lists all below /home, each with mode, owner, attributes and content.
func (s *site) details() (lines []string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "home")
	for _, line := range tree(s.t, dir) {
		name, _, _ := strings.Cut(strings.SplitN(line, " ", 3)[2], " -> ")
		path := filepath.Join(dir, name)
		st, err := os.Lstat(path)
		s.must(err)
		buf := make([]byte, 4096)
		n, err := unix.Llistxattr(path, buf)
		s.must(err)
		for _, attribute := range strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }) {
			value := make([]byte, 4096)
			n, err := unix.Lgetxattr(path, attribute, value)
			s.must(err)
			line += fmt.Sprintf(" %s=%x", attribute, value[:n])
		}
		if st.Mode().IsRegular() {
			line += fmt.Sprintf(" %x", sha256.Sum256([]byte(s.text(path))))
		}
		lines = append(lines, line)
	}
	return lines
}

// compileTestdata builds one of testdata's programs.
func compileTestdata(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-o", path, "testdata/"+name+".c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}
