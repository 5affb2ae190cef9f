// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/labs"
)

// With a real engine and container, sshd's processes of a user's connection are in the container's network,
// and an administrator's in the host's. What sshd does afterwards works there: keys are exchanged anew, names
// are looked up, idle clients are asked, and what ends with the session ends.
func TestNetworkOfAContainer(t *testing.T) {
	for name, config := range map[string]string{
		"shared": "transport = \"direct\"\n", "user": "transport = \"direct\"\nmode = \"user\"\n", "exec": "transport = \"exec\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := labs.New(t, config)
			for _, marker := range []string{"", "touch /var/lib/berth/forwarding; "} {
				l.Exec(t, "sh", "-c", marker+"sed -i 's/UseDNS no/UseDNS yes\\nClientAliveInterval 1/' /etc/ssh/sshd_config.d/10-lab.conf; kill -HUP $(cat "+l.Path("sshd.pid")+")")
				labs.Eventually(t, labs.Patience, func() (bool, string) {
					r := labs.Finish(l.SSH("admin", "true"))
					return r.Status == 0, fmt.Sprintf("%+v", r)
				})
				checkConnection(t, l, "admin", network(t, "self"))
				checkConnection(t, l, "alice", "")
				// Then idle, until sshd has asked the client several times whether it is alive.
				bulk := labs.Finish(l.SSH("alice", "-o", "RekeyLimit=1M", "head -c 8388608 /dev/zero; sleep 3"))
				if bulk.Status != 0 || len(bulk.Out) != 8<<20 {
					t.Errorf("8 MiB with new keys: %d bytes, status %d: %s", len(bulk.Out), bulk.Status, bulk.Err)
				}
				if r := labs.Finish(l.SSH("alice", "-tt", "true")); r.Status != 0 {
					t.Errorf("with a terminal: %+v", r)
				}
				labs.Eventually(t, labs.Patience, func() (bool, string) {
					last := l.Exec(t, "last", "-f", "/var/log/wtmp", "alice")
					return strings.Contains(last, "alice") && !strings.Contains(last, "still logged in"), last
				})
				checkLost(t, l)
			}
			lease := "/var/lib/berth/users/" + l.UID(t, "alice")
			labs.Eventually(t, labs.Patience, func() (bool, string) {
				r := l.Try("sh", "-c", "flock -n $(readlink -f "+lease+")/lease true")
				return r.Status == 0, fmt.Sprintf("the lease is held: %+v", r)
			})
		})
	}
}

// checkConnection checks in which network the processes of a user's connection are; "" is the container's.
func checkConnection(t *testing.T, l *labs.Lab, name, want string) {
	t.Helper()
	in, out := labs.StartWithPipes(t, l.SSH(name, "echo in; cat"))
	if said, err := out.ReadString('\n'); err != nil || said != "in\n" {
		t.Fatalf("%s: %q, %v", name, said, err)
	}
	if want == "" {
		uid := l.UID(t, name)
		container := path.Base(strings.TrimSpace(l.Exec(t, "readlink", "/var/lib/berth/users/"+uid)))
		want = network(t, strings.TrimSpace(l.Exec(t, "docker", "inspect", "--format", "{{.State.Pid}}", container)))
		if want == network(t, "self") {
			t.Errorf("the container has the host's network: this shows nothing")
		}
	}
	seen := 0
	for _, p := range processesOf(t, l, name) {
		seen++
		if got := network(t, p); got != want {
			t.Errorf("%s: %s is in %s, want %s", name, commandOf(p), got, want)
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, "net:") {
				t.Errorf("%s: %s has %s open", name, commandOf(p), to)
			}
		}
	}
	if seen < 2 {
		t.Errorf("%s: %d processes: this shows nothing", name, seen)
	}
	_ = in.Close()
	if _, err := out.ReadString('\n'); err == nil {
		t.Errorf("%s: cat says something", name)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		left := processesOf(t, l, name)
		return len(left) == 0, fmt.Sprintf("sshd's processes %v are left", left)
	})
}

func commandOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimRight(strings.ReplaceAll(string(text), "\x00", " "), " ")
}

// processesOf returns the lab's sshd processes of a user's connections: the monitor's and the user's.
func processesOf(t *testing.T, l *labs.Lab, name string) (found []int) {
	t.Helper()
	text, err := os.ReadFile(l.Path("sshd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processesBeside(t, strings.TrimSpace(string(text))) {
		if who := commandOf(p); strings.HasPrefix(who, "sshd") && (strings.Contains(who, ": "+name+"@") || strings.Contains(who, ": "+name+" ")) {
			found = append(found, p)
		}
	}
	return found
}

// checkLost checks that root, at the close, writes the end of a session whose berth-session was killed.
func checkLost(t *testing.T, l *labs.Lab) {
	t.Helper()
	lost := func() (n int) {
		for _, line := range l.Record() {
			if line.Event == "lost" && line.PID == 0 {
				n++
			}
		}
		return n
	}
	before := lost()
	_, out := labs.StartWithPipes(t, l.SSH("alice", "echo in; cat"))
	if said, err := out.ReadString('\n'); err != nil || said != "in\n" {
		t.Fatalf("%q, %v", said, err)
	}
	l.Exec(t, "sh", "-c", "kill -9 $(ls /var/lib/berth/sessions/"+l.UID(t, "alice")+" | sed -n 's/.*[.]//p')")
	labs.Eventually(t, labs.Patience, func() (bool, string) { return lost() == before+1, fmt.Sprintf("%d lost, %d before", lost(), before) })
}
