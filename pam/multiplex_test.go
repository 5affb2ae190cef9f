// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// One connection, several sessions on it; meanwhile its monitor, which opened the
// session, is as with pam_mkhomedir: threads, signals, limits, descriptors.
func TestSSHDMultiplexed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir, path := program(t, `echo "$PAM_USER $PAM_TYPE" >>"$(dirname "$0")/said"`)
	stacks := []string{"pam_mkhomedir.so", "MODULE", "MODULE exec_failure=deny exec=" + path}
	states := map[string]string{}
	for _, stack := range stacks {
		s.must(os.RemoveAll(s.home()))
		s.stack(stack)
		for _, round := range []string{"no home", "all in place"} {
			states[stack+", "+round] = s.multiplex()
		}
	}
	expected := states["pam_mkhomedir.so, all in place"]
	if strings.Count(expected, "\n") < 20 {
		t.Errorf("seen of the monitor: %s", expected)
	}
	for when, state := range states {
		if state != expected {
			t.Errorf("%s: the monitor is\n%s\nand with pam_mkhomedir\n%s", when, state, expected)
		}
	}
	s.whole(0o750)
	if said := s.text(filepath.Join(dir, "said")); said != strings.Repeat("nina open_session\nnina close_session\n", 2) {
		t.Errorf("opened and closed: %s", said)
	}
}

// multiplex opens a connection and runs commands on it; it returns what its
// monitor looks like.
func (s *server) multiplex() string {
	s.t.Helper()
	master := s.ssh("-M", "127.0.0.1", "echo in; cat")
	in, err := master.StdinPipe()
	s.must(err)
	out, err := master.StdoutPipe()
	s.must(err)
	s.must(master.Start())
	defer func() { in.Close(); _ = master.Wait() }()
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || said != "in\n" {
		s.t.Fatalf("%q, %v", said, err)
	}
	for _, tty := range []string{"-T", "-tt", "-T"} {
		said, err := s.ssh(tty, "127.0.0.1", s.dir+"/seen").CombinedOutput()
		if err != nil || strings.TrimSpace(string(said)) != "in nina /home/nina" {
			s.t.Errorf("%s: %v: %s", tty, err, said)
		}
	}
	connections := children(s.t, fmt.Sprint(s.pid))
	if len(connections) != 1 {
		s.t.Fatalf("one connection, and %v", connections)
	}
	state := s.monitor(connections[0])
	s.must(in.Close())
	s.must(master.Wait())
	s.ended()
	return state
}

// monitor describes sshd's process that opened the session.
func (s *server) monitor(pid string) string {
	s.t.Helper()
	proc := "/proc/" + pid
	state := regexp.MustCompile(`(?m)^(Umask|Threads|Sig...|ShdPnd|Cap...|Uid|Gid|Groups):.*\n`).FindAllString(s.text(proc+"/status"), -1)
	state = append(state, s.text(proc+"/limits"))
	if n := len(children(s.t, pid)); n != 1 {
		state = append(state, fmt.Sprintf("%d children\n", n))
	}
	number := regexp.MustCompile(`\d+`)
	fds, err := os.ReadDir(proc + "/fd")
	s.must(err)
	links := []string{"cwd", "root"}
	for _, fd := range fds {
		links = append(links, "fd/"+fd.Name())
	}
	for _, link := range links {
		target, err := os.Readlink(proc + "/" + link)
		s.must(err)
		if strings.Contains(target, ":[") || strings.HasPrefix(target, "/dev/pt") {
			target = number.ReplaceAllString(target, "N")
		}
		state = append(state, link+" "+target+"\n")
	}
	return strings.Join(state, "")
}
