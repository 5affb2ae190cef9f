// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"berth/test/labs"
)

// `berth up` takes up a new berth-guest and new rules, and no session notices.
func TestUpgrade(t *testing.T) {
	l := labs.New(t, "")
	welcome(t, l, "alice", "bob")
	before := still(t, l)
	keeper, server := serving(t, l)
	sessions := openBatch(t, l)
	// Another file under the same name, as an installation leaves it.
	path := l.Path("guest/berth-guest")
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", append(program, 0), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	l.Exec(t, "sh", "-c", "printf '[users]\\nuid_max = "+l.UID(t, "alice")+"\\n[session]\\nlimit = 60\\n' >>/etc/berth/berth.toml")
	for range 5 { // several administrators at once, or one who is impatient
		if out, err := exec.Command("docker", "kill", "--signal", "HUP", l.Container(t)).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	if err := errors.Join(syscall.Kill(keeper, syscall.SIGHUP), syscall.Kill(keeper, syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
	if out := l.Exec(t, "berth", "up"); !strings.Contains(out, "runs") || strings.Contains(out, "should be") {
		t.Errorf("berth up: %s", out)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		now, next := serving(t, l)
		old, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", now))
		return now == keeper && next != server && !strings.HasSuffix(old, "(deleted)"), fmt.Sprint(now, next, old)
	})
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("a login after it: %+v", r)
	}
	if r := labs.Finish(l.SSH("bob", "id")); r.Status != 255 || !strings.Contains(r.Err, "not one of this gateway's users") {
		t.Errorf("bob is out of range now: %+v", r)
	}
	each(sessions, func(s *opened) {
		if err := s.answers(); err != nil {
			t.Error(err)
		}
	})
	each(sessions, (*opened).end)
	settled(t, l, before)
}
