// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// transcript is what one client sees of a number of sessions, byte for byte.
func transcript(t *testing.T, l *Lab) string {
	t.Helper()
	var text strings.Builder
	say := func(what string, r Result) { fmt.Fprintf(&text, "== %s\n%q\n%q\n%d\n", what, r.Out, r.Err, r.Status) }
	for _, command := range []string{
		"id", "id; whoami; pwd; umask; ulimit -n; ulimit -c", "exit 42", "kill -TERM $$", "kill -KILL $$", "cat; exit 3", "echo out; echo err >&2; exit 1",
		"env | grep -v ^SSH_ | sort", "no-such-program", "exec 1>&-; echo lost; exit 5", "printf 'a\\0b\\377'", "tty; test -t 0; echo $?", "ls -l /proc/self/fd | wc -l",
		"cat /proc/self/status | grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp):'", "sleep 0.1 & echo $!| wc -l",
	} {
		cmd := l.SSH("alice", command)
		cmd.Stdin = strings.NewReader("in\x00put\n")
		say(command, finish(cmd))
	}
	for _, c := range [][2]string{
		{"tty | tr -d 0-9; stty -a", ""}, {"stty size; exit 9", ""}, {"cat", "typed\r\x04"}, {"head -n 1; exit 4", "typed\r"}, {"echo $TERM; kill -INT $$", ""}, {"sleep 3000", "\x03"},
	} {
		// Typed when the program is there: what is typed ahead may meet the
		// terminal outside, and be echoed there as well.
		s := open(t, l.SSH("alice", "-tt", "echo rea''dy; "+c[0]))
		s.expect("ready\r\n")
		if c[1] != "" {
			s.send(c[1])
		}
		status := s.end()
		say("tty: "+c[0], Result{Out: s.dump(), Status: status})
	}
	limited := l.asUser("alice", []string{"SSH_ORIGINAL_COMMAND=ulimit -Sn; ulimit -Hn; ulimit -St"}, "prlimit", "--nofile=512:600", "--cpu=77", berthSession)
	say("limits", finish(limited))
	batch := exec.Command("sftp", "-q", "-b", "-", "-F", l.Path("ssh_config"), "alice")
	batch.Stdin = strings.NewReader("pwd\nput /etc/os-release there\nget there /dev/null\nrm there\nget missing\n")
	say("sftp", finish(batch))
	text.WriteString(l.run(t, "alice", "printf x | wc -c; ls -A"))
	hostname := strings.TrimSpace(l.run(t, "alice", "hostname"))
	return strings.NewReplacer(hostname, "HOST", l.UID(t, "alice"), "UID").Replace(text.String())
}

// By either transport, and in a container of one's own, a client sees the same, byte for byte but for the
// host's name.
func TestSameTranscript(t *testing.T) {
	seen := map[string]string{}
	for name, config := range map[string]string{
		"direct": "transport = \"direct\"\nmode = \"shared\"\n",
		"exec":   "transport = \"exec\"\nmode = \"shared\"\n",
		"user":   "transport = \"direct\"\nmode = \"user\"\n",
	} {
		l := newLab(t, config)
		l.run(t, "alice", "true") // what is said of a container that is made is no part of it
		seen[name] = transcript(t, l)
	}
	for _, other := range []string{"exec", "user"} {
		if seen["direct"] != seen[other] {
			t.Errorf("direct:\n%s\n%s:\n%s", seen["direct"], other, seen[other])
		}
	}
	for _, line := range []string{"uid=UID(alice)", `"in\x00put\n"`, "\n42\n", `"512\n600\n77\n"`} {
		if !strings.Contains(seen["direct"], line) {
			t.Errorf("no %q in the transcript:\n%s", line, seen["direct"])
		}
	}
}
