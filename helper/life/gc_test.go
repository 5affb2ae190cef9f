// SPDX-License-Identifier: Apache-2.0

package life

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// age makes it look as if a user had not come for long.
func (l life) age(t *testing.T, user string) {
	t.Helper()
	l.Exec(t, "touch", "-h", "-d", "100 days ago", "/var/lib/berth/users/"+l.uid(t, user))
}

// traces lists what berth has of a user.
func (l life) traces(t *testing.T, uid string) string {
	t.Helper()
	return l.Exec(t, "sh", "-c", `cd /var/lib/berth; ls -d users/"$1"* names/"$1" profiles/own/*-"$1" sessions/"$1" 2>/dev/null; true`, "sh", uid)
}

// gc says what it does, does that, and does it to nobody who is logged in.
func TestGC(t *testing.T) {
	l := begin(t, "", "", "idle = \"2s\"\n")
	users := l.addUsers(t, 6)
	gone, goneInside, away, awayInside, here, ended := users[0], users[1], users[2], users[3], users[4], users[5]
	l.works(t, users...)
	l.works(t, "bob") // a shared container's link and record may go, too
	inside := map[string]conversation{goneInside: l.converse(t, goneInside), awayInside: l.converse(t, awayInside), here: l.converse(t, here)}
	uids, names := map[string]string{}, map[string]string{}
	for _, user := range users {
		uids[user], names[user] = l.uid(t, user), l.container(t, user)
	}
	for _, user := range []string{gone, away, ended} {
		l.awaitState(t, names[user], "exited 0 0")
	}
	for _, user := range []string{away, awayInside} {
		l.age(t, user)
	}
	bob := l.uid(t, "bob")
	for _, user := range []string{gone, goneInside, "bob"} {
		l.Exec(t, "sed", "-i", "/^"+user+":/d", "/etc/passwd")
	}
	kept := map[string]string{}
	for _, user := range []string{goneInside, awayInside, here, ended} {
		kept[user] = l.traces(t, uids[user])
	}

	plan := l.Exec(t, "berth", "gc", "--dry-run")
	for user, why := range map[string]string{gone: "the account is gone", away: "not seen since 2", ended: "it has ended"} {
		if !strings.Contains(plan, "container "+names[user]+": "+why) || l.state(names[user]) == "" {
			t.Errorf("%s: %s", user, plan)
		}
	}
	for _, user := range []string{goneInside, awayInside, here} {
		if strings.Contains(plan, uids[user]) {
			t.Errorf("%s, who is logged in: %s", user, plan)
		}
	}
	if done := l.Exec(t, "berth", "gc"); done != plan {
		t.Errorf("gc does %s\nand said %s", done, plan)
	}
	if again := l.Exec(t, "berth", "gc"); again != "" {
		t.Errorf("once more: %s", again)
	}
	for _, user := range []string{gone, away, ended} {
		if is := l.state(names[user]); is != "" {
			t.Errorf("%s: the container is %s", user, is)
		}
	}
	if left := l.traces(t, uids[gone]) + l.traces(t, bob); left != "" {
		t.Errorf("of accounts that are gone there is\n%s", left)
	}
	// The names of an account that is there are no garbage.
	if left, want := l.traces(t, uids[away]), "names/"+uids[away]+"\nsessions/"+uids[away]+"\n"; left != want {
		t.Errorf("of %s there is\n%swant\n%s", away, left, want)
	}
	for user, want := range kept {
		if left := l.traces(t, uids[user]); left != want {
			t.Errorf("%s had\n%sand has\n%s", user, want, left)
		}
	}
	for user, session := range inside {
		session.goesOn(t, "still "+user)
	}
	l.works(t, away, awayInside, here, ended)
}

// A client that is connected has no session at times. It is logged in all the same.
func TestGCLeavesTheConnected(t *testing.T) {
	l := begin(t, "", "", "")
	path := t.TempDir() + "/master"
	master := l.ssh("alice", "", "-M", "-S", path, "-N")
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = master.Process.Kill()
		_ = master.Wait()
	}()
	l.awaitState(t, l.container(t, "alice"), "running 0 0")
	l.age(t, "alice")
	before := l.traces(t, l.uid(t, "alice"))
	l.engine(t, "kill", l.container(t, "alice")) // not even that is a reason
	if out := l.Exec(t, "berth", "gc"); out != "" || l.traces(t, l.uid(t, "alice")) != before {
		t.Errorf("gc: %s", out)
	}
	// The control: she goes.
	_ = master.Process.Kill()
	for end := time.Now().Add(time.Minute); l.Exec(t, "berth", "gc") == ""; {
		if time.Now().After(end) {
			t.Fatal("gc leaves alone who has gone")
		}
	}
	if left := l.traces(t, l.uid(t, "alice")); strings.Contains(left, "users") || strings.Contains(left, "profiles") {
		t.Errorf("left:\n%s", left)
	}
}

// Logins that meet gc get in, although it takes away what they have just found.
func TestGCWhileUsersLogIn(t *testing.T) {
	const logins = 8
	l := begin(t, "", "", "idle = \"1s\"\n")
	users := l.addUsers(t, 3)
	l.works(t, users...)
	done := make(chan struct{})
	var collector, all sync.WaitGroup
	removed := 0
	collector.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			// A user whose link is gone has not been seen for long, either.
			r := l.Try("sh", "-c", "find /var/lib/berth/users -name '[0-9]*' -type l -exec touch -h -d '100 days ago' {} +; exec berth gc")
			removed += strings.Count(r.Out, "container ")
			if r.Status != 0 {
				t.Errorf("gc: %+v", r)
			}
		}
	})
	for _, user := range users {
		all.Go(func() {
			for n := range logins {
				if r := l.login(user, "id -un"); r.Out != user+"\n" || r.Err != "" {
					t.Errorf("%s: %+v", user, r)
				}
				time.Sleep(time.Duration(n%4) * 700 * time.Millisecond) // the container ends, or not
			}
		})
	}
	all.Wait()
	close(done)
	collector.Wait()
	t.Logf("gc has removed %d containers", removed)
	if removed == 0 {
		t.Error("gc has met nothing")
	}
}
