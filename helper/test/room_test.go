// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"berth/test/labs"
)

// openMany opens n sessions of user with a terminal.
func openMany(l *labs.Lab, user string, n int) ([]*openSession, []error) {
	return labs.Several(n, func() (*openSession, error) { return open(l, user, true) })
}

// B12: with the default settings there is room for users with as many sessions as
// they may have, for work in these, and for others besides.
func TestSessionsAtLimit(t *testing.T) {
	const limit = 100 // session.limit's default
	l := labs.New(t, "")
	// Users of this test's own: RLIMIT_NPROC counts a uid's processes in all labs.
	users := []string{"room1", "room2", "room3"}
	for i, user := range users {
		l.Exec(t, "useradd", "-m", "-u", fmt.Sprint(50501+i), "-U", "-G", "berth", "-s", "/bin/bash", user)
		l.Exec(t, "install", "-m", "644", l.Path("keys/alice.pub"), "/etc/berth/authorized_keys/"+user)
		if r := labs.Finish(l.SSH("alice", "-o", "User="+user, "true")); r.Status != 0 {
			t.Fatalf("%s: %+v", user, r)
		}
	}
	logInOnce(t, l, "bob")
	before := stableState(t, l)
	var sessions []*openSession
	t.Cleanup(func() { forEach(sessions, (*openSession).end) })
	for _, user := range users {
		all, errs := openMany(l, user, limit)
		sessions = append(sessions, all...)
		if len(errs) > 0 {
			t.Fatalf("%s has %d sessions, and then %v", user, len(all), errs[0])
		}
	}
	for _, user := range users {
		r := labs.Finish(l.AsUser(user, "/usr/libexec/berth/berth-session", "-c", "echo in"))
		if r.Status != 255 || r.Out != "" || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, fmt.Sprintf("you have %d sessions", limit)) {
			t.Errorf("%s has one session too many: %+v", user, r)
		}
	}
	if r := labs.Finish(l.SSH("bob", "id -un")); r.Out != "bob\n" || r.Err != "" {
		t.Errorf("another user, meanwhile: %+v", r)
	}
	// One session makes place for one that works.
	last := sessions[len(sessions)-1]
	if err := last.answers(); err != nil {
		t.Error(err)
	}
	user := users[len(users)-1]
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		r := labs.Finish(l.AsUser(user, "/usr/libexec/berth/berth-session", "-c", "for i in $(seq 500); do sleep 3000 & done; jobs -r | wc -l; kill $(jobs -p)"))
		return r.Out == "500\n" && r.Err == "", fmt.Sprintf("500 processes beside %d sessions: %+v", limit-1, r)
	})
	forEach(sessions[:len(sessions)-1], func(s *openSession) {
		if err := s.answers(); err != nil {
			t.Error(err)
		}
	})
	forEach(sessions, (*openSession).end)
	awaitState(t, l, before)
}
