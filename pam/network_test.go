// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keepers are what may listen where a container's keeper should: how it is started, and what it does between
// bind(2) and listen(2), in perl. None ever accepts. PLACE is the container's directory.
var keepers = map[string]struct{ enter, mounts, perl string }{
	"a keeper":                  {"--net", serveMounts, ""},
	"a process of nobody's":     {"--net", serveMounts, "$< = $> = 65534;"},
	"a process of the host's":   {"", serveMounts, ""},
	"root elsewhere":            {"--net", "", ""},
	"root in a place like that": {"--net", strings.Replace(serveMounts, "mount --bind PLACE", "mount --bind /usr", 1), ""},
	"a link out of the root":    {"--net", "mount -t tmpfs none /run; mkdir -p /run/berth/private; ln -s /proc/self/cwd /run/berth/private/serve; cd PLACE;", ""},
	"a process whose queue is full": {"--net", serveMounts,
		"$queue = 0; $after = 'for (1..2) { socket($c[$_],AF_UNIX,SOCK_STREAM,0); $c[$_]->blocking(0); connect($c[$_],sockaddr_un($at)) }';"},
}

// An empty network that root has made beforehand, and what is none.
const (
	nowhere      = "mkdir -m 755 /run/berth; touch /run/berth/nowhere; unshare --net=/run/berth/nowhere true"
	otherNowhere = "mkdir -m 755 /run/berth; touch /run/berth/nowhere; mount --bind $N /run/berth/nowhere"
)

// Profiles by users' names, and an account whose name is not the one that nina logs in by.
const (
	byName  = "echo users >/var/lib/berth/forwarding;"
	another = "{ echo nora:x:4711:4711::/home/nina:/bin/sh; cat /etc/passwd; } >$S/both; mount --bind $S/both /etc/passwd;"
)

const serveMounts = "mount -t tmpfs none /run; mkdir -p /run/berth/private/serve; mount --bind PLACE /run/berth/private/serve;"

// startKeeper starts one, at the keeper's own socket, and returns its process.
func (s *site) startKeeper(name string) *exec.Cmd {
	s.t.Helper()
	k, place := keepers[name], filepath.Join(s.dir, box)
	perl := `use IO::Handle; $at = $ARGV[0]; $queue = 9; socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un("$at.new")) or die;` + k.perl +
		`listen(S,$queue) or die; rename("$at.new",$at) or $at = "$at.new"; eval $after; $| = 1; print "$at\n"; sleep`
	script := strings.ReplaceAll(k.mounts, "PLACE", place) + ` exec perl -MSocket -e "$0" "$1"`
	if strings.Contains(k.perl, "65534") { // it cannot rename in root's directory
		perl = strings.Replace(perl, `"$at.new")) or die`, `$at)) or die`, 1)
		perl = strings.Replace(perl, `rename("$at.new",$at) or $at = "$at.new";`, "", 1)
	}
	args := []string{"--mount", "--propagation", "private"}
	if k.enter != "" {
		args = append(args, k.enter)
	}
	cmd := exec.Command("unshare", append(args, "sh", "-ec", script, perl, filepath.Join(place, "control"))...)
	out, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	one := make([]byte, 256)
	n, err := out.Read(one)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(one[:n])), "/control") {
		s.t.Fatalf("%s: %q, %v", name, one[:n], err)
	}
	return cmd
}

func network(t *testing.T, pid any) string {
	t.Helper()
	id, err := os.Readlink(fmt.Sprintf("/proc/%v/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// networkOf says in which network all processes of a login are: keeper's, "the host's", or "an empty one". It
// returns the descriptors of networks that they have open, too.
func networkOf(t *testing.T, l *login, keeper string) (where string, open []string) {
	t.Helper()
	monitor := l.monitor(t)
	processes := processesBeside(t, monitor)
	if len(processes) < 3 { // the monitor, nina's sshd, her shell
		t.Errorf("%v: this shows nothing", processes)
	}
	for _, p := range processes {
		if got, want := network(t, p), network(t, monitor); got != want {
			t.Errorf("process %d is in %s, sshd's monitor in %s", p, got, want)
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, "net:") {
				open = append(open, to)
			}
		}
	}
	switch network(t, monitor) {
	case keeper:
		return "the container's", open
	case network(t, "self"):
		return "the host's", open
	}
	devices, err := os.ReadFile("/proc/" + monitor + "/net/dev")
	if err != nil || strings.Count(string(devices), ":") != 1 || !strings.Contains(string(devices), " lo:") {
		t.Errorf("the network is not empty: %v\n%s", err, devices)
	}
	return "an empty one", open
}

// Which network a real sshd's processes of a connection are in. However little of what should be there is
// there: never the host's.
func TestNetworkOfAConnection(t *testing.T) {
	home, both := "session required "+built.module, "session required "+built.module+"\nsession required "+built.module+" container debug"
	const container, empty, host, ends = "the container's", "an empty one", "the host's", "no connection"
	for name, c := range map[string]struct {
		lines   string
		marker  bool   // users may forward ports
		groups  string // of nina's; "" is berth, and with none there is no such group
		keeper  string
		spoil   string // in the shell, B being the container's directory
		prepare string // what berth does when it is asked
		refuse  string // a system call
		want    string
		log     string
	}{
		"all in place":                      {lines: both, marker: true, keeper: "a keeper", want: container},
		"all in place, nobody may forward":  {lines: both, keeper: "a keeper", want: container},
		"transport exec":                    {lines: both, marker: true, keeper: "a keeper", spoil: "rm $B/socket", want: container},
		"all in place, a nowhere":           {lines: both, marker: true, keeper: "a keeper", spoil: nowhere, want: container},
		"no line, a nowhere":                {lines: home, marker: true, keeper: "a keeper", spoil: nowhere, refuse: "unshare", want: empty},
		"no container, a nowhere":           {lines: both, marker: true, spoil: nowhere, want: empty},
		"a nowhere that is the host's":      {lines: home, marker: true, spoil: "N=/proc/self/ns/net; " + otherNowhere, want: empty},
		"a nowhere that is none":            {lines: home, marker: true, spoil: "N=/proc/self/ns/uts; " + otherNowhere, want: empty},
		"no line for the container":         {lines: home, marker: true, keeper: "a keeper", want: empty},
		"the same, nobody may forward":      {lines: home, keeper: "a keeper", want: host},
		"the same, an administrator":        {lines: home, marker: true, groups: "berth admins", want: host},
		"the same, a user of the host's":    {lines: home, marker: true, groups: "users", want: host},
		"the same, no group berth":          {lines: home, marker: true, groups: "none", want: empty},
		"her own name":                      {lines: both, marker: true, keeper: "a keeper", spoil: byName, want: container},
		"another name":                      {lines: both, marker: true, keeper: "a keeper", spoil: byName + another, want: empty, log: "own name is nora"},
		"another name, no profile by name":  {lines: both, marker: true, keeper: "a keeper", spoil: another, want: container},
		"a home that cannot be made":        {lines: home, marker: true, spoil: "mount -t tmpfs -o mode=755,ro none /home", want: ends},
		"the line is for others":            {lines: strings.Replace(both, " debug", " group=users", 1), marker: true, keeper: "a keeper", want: empty},
		"the line is for others, no marker": {lines: strings.Replace(both, " debug", " group=users", 1), keeper: "a keeper", want: host},
		"no link":                           {lines: both, marker: true, keeper: "a keeper", spoil: "rm /var/lib/berth/users/4711", want: empty, log: "cannot be had"},
		"no container":                      {lines: both, marker: true, spoil: "rm -r /var/lib/berth/profiles", want: empty, log: "cannot be had"},
		"a stopped container":               {lines: both, marker: true, spoil: "rm $B/socket", want: empty, log: "nobody serves"},
		"it cannot be prepared":             {lines: both, marker: true, keeper: "a keeper", spoil: "touch $B/unsettled", prepare: "exit 3", want: empty, log: "exit status 3"},
		"it can be prepared":                {lines: both, marker: true, keeper: "a keeper", spoil: "touch $B/unsettled", want: container},
		"nobody's process":                  {lines: both, marker: true, keeper: "a process of nobody's", want: empty, log: "cannot be entered"},
		"the host's process":                {lines: both, marker: true, keeper: "a process of the host's", want: empty, log: "has no network of its own"},
		"the host's process, no marker":     {lines: both, keeper: "a process of the host's", want: empty, log: "has no network of its own"},
		"root elsewhere":                    {lines: both, marker: true, keeper: "root elsewhere", want: empty, log: "cannot be entered"},
		"root in a place like that":         {lines: both, marker: true, keeper: "root in a place like that", want: empty, log: "cannot be entered"},
		"a link out of the root":            {lines: both, marker: true, keeper: "a link out of the root", want: empty, log: "cannot be entered"},
		"a full queue":                      {lines: both, marker: true, keeper: "a process whose queue is full", want: empty, log: "cannot be entered"},
		"no setns":                          {lines: both, marker: true, keeper: "a keeper", refuse: "setns", want: empty, log: "cannot be entered"},
		"no setns, no marker":               {lines: both, keeper: "a keeper", refuse: "setns", want: empty, log: "cannot be entered"},
		"no setns, no unshare":              {lines: both, keeper: "a keeper", refuse: "all", want: ends, log: "cannot leave the host's network"},
		"no unshare":                        {lines: home, marker: true, refuse: "unshare", want: ends, log: "cannot leave the host's network"},
		"no unshare, all else in place":     {lines: both, keeper: "a keeper", refuse: "unshare", want: container},
	} {
		t.Run(name, func(t *testing.T) {
			s := newContainerSite(t, "", c.prepare)
			log := s.listen()
			if c.marker {
				s.write("berth/forwarding", "", 0o644)
			}
			keeper := "none"
			if c.keeper != "" {
				keeper = network(t, s.startKeeper(c.keeper).Process.Pid)
			}
			groups := ""
			for i, g := range []string{"berth", "admins"} {
				if c.groups == "none" {
					break
				}
				groups += fmt.Sprintf("%s:x:%d:", g, 31900+i)
				if c.groups == "" && g == "berth" || strings.Contains(c.groups, g) {
					groups += user
				}
				groups += "\n"
			}
			s.write("group", "root:x:0:\nnina:x:4711:\nusers:x:100:\nsshd:x:65534:\n"+groups, 0o644)
			more := "L=$S; S=" + s.dir + "; B=/var/lib/" + box + "\n" + devLog + "cp /usr/sbin/sshd $S/sbin/\n" + withContainer + "mount --bind $S/group /etc/group\n" + c.spoil + "\nS=$L\n"
			if c.refuse != "" {
				more += "exec " + built.refuse + " " + c.refuse + " /usr/sbin/sshd -i -f $S/config 2>/dev/null"
			}
			start := time.Now()
			l, said := startLogin(t, more, c.lines)
			where := ends
			if said == "in\n" {
				var open []string
				where, open = networkOf(t, l, keeper)
				// Where the last line is missing nothing closes the way back. Its holders are sshd's
				// own, which are undumpable and without a right to use it.
				if kept := c.lines == home && where == empty; len(open) > 0 != kept {
					t.Errorf("networks that are open: %v", open)
				}
			}
			l.end()
			if where != c.want {
				t.Errorf("sshd is in %s, want %s", where, c.want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			checkLines(t, log.lines(), c.log)
		})
	}
}

// The line that makes homes stands in other programs' stacks, too.
func TestNetworkOfOtherPrograms(t *testing.T) {
	for service, want := range map[string]bool{"test": true, "sshd": false} {
		s := newSite(t, "")
		s.write("group", "root:x:0:\nnina:x:4711:\nberth:x:31900:nina\n", 0o644)
		s.more = "mount -t tmpfs -o mode=755 none /var/lib; mkdir /var/lib/berth; touch /var/lib/berth/forwarding; mount --bind $S/group /etc/group\n"
		s.write("pam.d/"+service, "session required "+built.module+"\n", 0o644)
		out := s.exec("", built.host, s.dir+"/pam.d", service, user, "within", "1", "readlink /proc/$PPID/ns/net")
		checkLines(t, out, "open 0 close 0")
		if want {
			checkApplication(t, out)
		}
		if got := strings.Contains(out, "\n"+network(t, "self")+"\n"); got != want {
			t.Errorf("%s is in the host's network: %v, want %v\n%s", service, got, want, out)
		}
	}
}
