// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"berth/test/labs"
)

// A line that nobody reads in time is missing, and counted.
func TestLogCountsWhatItLoses(t *testing.T) {
	program := filepath.Join(t.TempDir(), "log")
	if out, err := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I../cmd/berth-init", "-o", program, "testdata/log.c", "../cmd/berth-init/log.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	var written, lost int
	if _, err := fmt.Sscanf(string(out), "%d of 10000\nberth-init: %d lines were not written\n", &written, &lost); err != nil || written == 0 || lost == 0 ||
		written+lost != 10000 || strings.Count(string(out), "\n") != 2 {
		t.Errorf("%s: %v", out, err)
	}
}

// So is a line that a user has no share left for.
func TestLogCountsWhatIsTooMuch(t *testing.T) {
	l := labs.New(t, "[session]\nlimit = 1\n")
	welcome(t, l, "alice")
	h, said := shown(t, l, "echo up; read x")
	said.says(t, "up")
	const refusals = 40
	for range refusals {
		if r := labs.Finish(l.AsUser("alice", "/usr/libexec/berth/berth-session", "-c", "true")); r.Status != 255 {
			t.Fatalf("%+v", r)
		}
	}
	numbers := regexp.MustCompile(`berth-init: (\d+) lines were not written`)
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		log, _ := exec.Command("docker", "logs", l.Container(t)).CombinedOutput()
		counted := strings.Count(string(log), "refused uid "+l.UID(t, "alice"))
		for _, m := range numbers.FindAllStringSubmatch(string(log), -1) {
			n, _ := strconv.Atoi(m[1])
			counted += n
		}
		return counted == refusals && numbers.Match(log), string(log)
	})
	h.leaves()
}
