// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/link/paths"
)

// keeper answers with a list of sessions, and notes what else it is asked.
func keeper(t *testing.T, list string) (control.Keeper, <-chan string) {
	t.Helper()
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, paths.Control))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	asked := make(chan string, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			request, _ := bufio.NewReader(conn).ReadString('\n')
			if request == "list 0\n" {
				fmt.Fprint(conn, list+"end\n")
			} else {
				asked <- strings.TrimSpace(request)
				fmt.Fprint(conn, "ok\n")
			}
			conn.Close()
		}
	}()
	return control.At(dir), asked
}

// helper is a process that could be a session's berth-session, as its user has it.
func helper(t *testing.T, env ...string) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// What the keepers say is completed by what the host's processes say, if they are the user's, and is safe to show.
func TestList(t *testing.T) {
	uid, dir := os.Getuid(), t.TempDir()
	own := fmt.Sprintf("%s/%d", dir, uid)
	shell := helper(t, "SSH_CONNECTION=192.0.2.7 4711 192.0.2.1 22", "SSH_TTY=/dev/pts/3")
	command := helper(t, "SSH_CONNECTION=::1 4712 ::1 22", "SSH_ORIGINAL_COMMAND=printf '\x1b[31m\xff' "+strings.Repeat("ü", 40))
	for _, name := range []string{
		fmt.Sprintf("%d/00000001-0000000a.%d", uid, shell), fmt.Sprintf("%d/00000001-0000000b.%d", uid, command),
		// Another user's file that names a process which is not theirs.
		fmt.Sprintf("4242/00000002-0000000a.%d", command),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(own); err != nil {
		t.Fatal(err)
	}
	one, asked := keeper(t, fmt.Sprintf("12 %d 200 direct 00000001-0000000a\n13 4242 100 exec 00000002-0000000a\n", uid))
	two, _ := keeper(t, fmt.Sprintf("12 %d 150 direct 00000001-0000000b\n14 4243 300 direct -\n", uid))
	name := func(uid uint32) string { return fmt.Sprintf("user%d", uid) }
	all, err := List([]Container{{"default", "berth", one}, {"own", "berth-own-1", two}}, dir, name)
	if err != nil || len(all) != 4 {
		t.Fatalf("%+v, %v", all, err)
	}
	got := func(i int) string {
		s := all[i]
		return fmt.Sprintf("%s %d %s %q %q %.14q %s", s.User, s.Since.Unix(), s.ID, s.From, s.TTY, s.Command, s.Container)
	}
	for i, want := range []string{
		`user4242 100 00000002-0000000a "" "" "" berth`,
		fmt.Sprintf(`user%d 150 00000001-0000000b "::1:4712" "" "printf '?[31m?" berth-own-1`, uid),
		fmt.Sprintf(`user%d 200 00000001-0000000a "192.0.2.7:4711" "pts/3" "" berth`, uid),
		`user4243 300  "" "" "" berth-own-1`,
	} {
		if got(i) != want {
			t.Errorf("%s, want %s", got(i), want)
		}
	}
	for what, want := range map[string][]int{
		"user4242": {0}, "00000001-0000000b": {1}, "00000001": {1, 2}, "0000000": nil, "": nil, "berth": nil,
	} {
		var found []int
		for i, s := range all {
			if s.Matches(what) {
				found = append(found, i)
			}
		}
		if !slices.Equal(found, want) {
			t.Errorf("%q is %v, want %v", what, found, want)
		}
	}
	if err := all[2].End("good bye"); err != nil || <-asked != "end 12 good bye" {
		t.Errorf("end: %v", err)
	}
	var table bytes.Buffer
	Write(&table, all)
	lines := strings.Split(table.String(), "\n")
	if len(lines) != 6 || !strings.HasSuffix(lines[2], "üüü...") || !strings.HasSuffix(lines[3], " -") || strings.Contains(table.String(), "\x1b") {
		t.Errorf("%s", &table)
	}
	if !strings.Contains(lines[1], time.Unix(100, 0).Format(time.DateTime)) {
		t.Errorf("%s", lines[1])
	}
}

// JSON has a list even of none, and a container that does not answer is named.
func TestListOfNone(t *testing.T) {
	if all, err := List(nil, t.TempDir(), nil); all == nil || len(all) != 0 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
	answers, _ := keeper(t, "12 4242 200 direct -\n")
	rubbish, _ := keeper(t, "rubbish\n")
	both := []Container{{"default", "berth-x", rubbish}, {"default", "berth-y", answers}, {"own", "it has just ended", control.At(t.TempDir())}}
	all, err := List(both, t.TempDir(), func(uint32) string { return "x" })
	if err == nil || !strings.Contains(err.Error(), "berth-x") || strings.Contains(err.Error(), "just ended") || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}
