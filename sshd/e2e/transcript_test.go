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
	for _, command := range []string{"tty | tr -d 0-9; stty -a", "stty size; exit 9", "cat", "echo $TERM; kill -INT $$"} {
		cmd := exec.Command("ssh", "-F", l.Path("ssh_config"), "-tt", "alice", command)
		cmd.Stdin = strings.NewReader("typed\r\n\x04")
		say("tty: "+command, finish(cmd))
	}
	batch := exec.Command("sftp", "-q", "-b", "-", "-F", l.Path("ssh_config"), "alice")
	batch.Stdin = strings.NewReader("pwd\nput /etc/os-release there\nget there /dev/null\nrm there\nget missing\n")
	say("sftp", finish(batch))
	text.WriteString(l.run(t, "alice", "printf x | wc -c; ls -A"))
	return strings.ReplaceAll(text.String(), l.Container(t), "CONTAINER")
}

// By either transport a client sees the same, byte for byte.
func TestSameTranscript(t *testing.T) {
	seen := map[string]string{}
	for _, transport := range []string{"direct", "docker"} {
		seen[transport] = transcript(t, newLab(t, fmt.Sprintf("transport = %q\n", transport)))
	}
	if seen["direct"] != seen["docker"] {
		t.Errorf("direct:\n%s\ndocker:\n%s", seen["direct"], seen["docker"])
	}
	for _, line := range []string{"uid=31001(alice)", `"in\x00put\n"`, "-1\n"} {
		if !strings.Contains(seen["direct"], line) {
			t.Errorf("no %q in the transcript:\n%s", line, seen["direct"])
		}
	}
}
