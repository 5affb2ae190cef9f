// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"strings"
	"testing"
)

const head = "Nov 24 20:20:26 berth-session[1365]: session "

func TestJudge(t *testing.T) {
	requested, started := head+"requested id=a user=alice command=\"id=b; echo \\\"x\\\"\"\n", head+"started id=a user=alice\n"
	ended, root := head+"ended id=a reason=exit status=0\n", "Nov 24 20:20:26 sshd[1]: pam_berth(sshd:session): session lost id=a reason=\"x y\"\n"
	for name, c := range map[string]struct {
		log, wrong string
		goesOn     bool
	}{
		"nothing":                 {"", "", false},
		"whole":                   {requested + started + ended, "", false},
		"lost, says root":         {requested + started + root, "", false},
		"refused":                 {requested + head + "refused id=a status=255\n", "", false},
		"running":                 {requested + started, "", true},
		"no end":                  {requested + started, "no end", false},
		"no beginning":            {started + ended, "not one beginning", false},
		"two beginnings":          {requested + requested + ended, "not one beginning", false},
		"two ends":                {requested + started + ended + root, "after its end", false},
		"two starts":              {requested + started + started + ended, "starts twice", false},
		"an end without a start":  {requested + ended, "without a start", false},
		"refused after the start": {requested + started + head + "refused id=a status=255\n", "started, and not", false},
		"refused with success":    {requested + head + "refused id=a status=0\n", "says success", false},
		"lost with success":       {requested + started + head + "lost id=a status=0\n", "says success", false},
		"no reason":               {requested + started + head + "ended id=a status=0\n", "not clear", false},
		"hangup with a status":    {requested + started + head + "ended id=a reason=hangup status=0\n", "not clear", false},
		"unknown":                 {requested + head + "begun id=a\n", "none", false},
		"another's":               {requested + started + strings.ReplaceAll(ended, "id=a", "id=b"), "no end", false},
	} {
		wrong := strings.Join(Judge(Lines(c.log), func(string, int) bool { return c.goesOn }), "\n")
		if (c.wrong == "") != (wrong == "") || !strings.Contains(wrong, c.wrong) {
			t.Errorf("%s: %q, want %q", name, wrong, c.wrong)
		}
	}
	if got := Lines(requested)[0]; got.PID != 1365 || got.Fields["command"] != `id=b; echo "x"` || got.Fields["id"] != "a" {
		t.Errorf("%+v", got)
	}
}
