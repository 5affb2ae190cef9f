// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"berth/test/labs"
)

// `berth status` succeeds only if logins work, whoever is away, and says why not.
func TestStatusAgreesWithLogins(t *testing.T) {
	l := labs.New(t, autoTransport)
	logInOnce(t, l, "alice")
	docker := func(verb string) {
		t.Helper()
		if out, err := exec.Command("docker", verb, l.Container(t)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	expect := func(when string, work bool, words ...string) {
		t.Helper()
		r := l.Try("berth", "status")
		if (r.Status == 0) != work || strings.Contains(r.Out, "logins      work\n") != work || strings.Contains(r.Err, "logins fail: ") == work {
			t.Errorf("%s: %+v", when, r)
		}
		for _, word := range words {
			if !strings.Contains(r.Out, word) {
				t.Errorf("%s: no %q in\n%s", when, word, r.Out)
			}
		}
		var object struct{ Logins bool }
		if j := l.Try("berth", "status", "--json"); json.Unmarshal([]byte(j.Out), &object) != nil || object.Logins != work || (j.Status == 0) != work {
			t.Errorf("%s: %+v", when, j)
		}
	}
	away := strings.NewReplacer("/run/docker.sock", "/run/nobody.sock")
	good := l.Exec(t, "cat", "/etc/berth/berth.toml")
	write := func(text string) {
		t.Helper()
		cmd := l.Command("sh", "-c", "cat >/etc/berth/berth.toml")
		cmd.Stdin = strings.NewReader(text)
		if r := labs.Finish(cmd); r.Status != 0 {
			t.Fatalf("%+v", r)
		}
	}
	elsewhere := away.Replace(good + "\n[engine]\nsocket = \"/run/docker.sock\"\n")

	expect("all well", true, ", running\n")
	write(elsewhere)
	expect("the engine away", true, "does not answer", "sessions    0\n", "engine.socket: /run/nobody.sock")
	write(good)
	l.Exec(t, "chmod", "777", "/usr/libexec/berth/berth-session")
	expect("a program that others may write", false, "writable by nobody else")
	l.Exec(t, "chmod", "755", "/usr/libexec/berth/berth-session")
	docker("pause")
	expect("paused", false, "logins      fail: the container is paused\n")
	docker("unpause")
	docker("stop")
	expect("stopped", false, "logins      fail: the container is exited\n")
	write(elsewhere)
	expect("stopped, and the engine away", false, "does not answer", "no container of berth's")
	write(good)
	docker("start")
	l.Exec(t, "berth", "up")
	expect("again", true)
	docker("stop")
	docker("rm")
	expect("removed", false, ", missing\n", "logins      fail: there is no container\n")
}
