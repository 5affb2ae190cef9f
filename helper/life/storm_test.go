// SPDX-License-Identifier: Apache-2.0

package life

import (
	"sync"
	"testing"
	"time"
)

// Thirty users come for the first time, all at once: each gets a container, and whoever needs none waits no longer than
// twice as long as else.
func TestFirstLogins(t *testing.T) {
	const tries, most = 3, 2.0
	l := begin(t, "", "", "")
	users := l.addUsers(t, 30)
	l.works(t, "bob")
	var ratio float64
	// What others do on this machine is in both times, if not evenly.
	for try := range tries {
		ratio = l.storm(t, users)
		if t.Failed() || ratio <= most {
			break
		}
		t.Logf("try %d: the bystanders waited %.2f times as long", try, ratio)
		for _, user := range users {
			l.remove(t, l.container(t, user))
		}
	}
	if ratio > most {
		t.Errorf("the bystanders waited %.2f times as long", ratio)
	}
}

// storm logs users in, all at once, and returns how much longer bystanders waited meanwhile.
func (l life) storm(t *testing.T, users []string) float64 {
	t.Helper()
	quiet := l.stand(t, nil)
	var all sync.WaitGroup
	var mu sync.Mutex
	var longest time.Duration
	start := time.Now()
	for _, user := range users {
		all.Go(func() {
			r := l.login(user, "id -un; pwd")
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(start))
			if r.Status != 0 || r.Err != "" || r.Out != user+"\n/home/"+user+"\n" {
				t.Errorf("%s after %v: %+v", user, time.Since(start), r)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	during := l.stand(t, done)
	quiet = append(quiet, l.stand(t, nil)...)
	ratio := float64(median(during)) / float64(median(quiet))
	t.Logf("%d first logins took %v; %d bystanders' %v meanwhile (at most %v), %v else", len(users), longest, len(during), median(during), during[len(during)-1], median(quiet))
	return ratio
}

// stand logs bystanders in, a few times or until done, and returns how long each took.
func (l life) stand(t *testing.T, done <-chan struct{}) (all []time.Duration) {
	t.Helper()
	for i := 0; done != nil || i < 12; i++ {
		select {
		case <-done:
			return all
		default:
		}
		start := time.Now()
		l.works(t, []string{"bob", "admin"}[i%2])
		all = append(all, time.Since(start))
	}
	return all
}
