// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/link/paths"
)

// fakeKeeper answers each request with what answers has for it, and else with nothing.
func fakeKeeper(t *testing.T, answers map[string]string) Keeper {
	t.Helper()
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, paths.Control))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			request, _ := bufio.NewReader(conn).ReadString('\n')
			fmt.Fprint(conn, answers[strings.TrimSuffix(request, "\n")])
			conn.Close()
		}
	}()
	return At(dir)
}

// Keys that this berth does not know are a later keeper's.
func TestCount(t *testing.T) {
	k := fakeKeeper(t, map[string]string{"count": "sessions=3\nending=1\nspare=4\nserver=8\nstandby=9\nspawner=7\nserving=1\non_demand=1\nlater=x\n"})
	want := Count{PID: os.Getpid(), Sessions: 3, Ending: 1, Spare: 4, Server: 8, Standby: 9, Spawner: 7, Serving: true, OnDemand: true}
	if c, err := k.Count(); err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := fakeKeeper(t, map[string]string{"count": "sessions=x\n"}).Count(); err == nil {
		t.Errorf("%+v of no number", c)
	}
}

// A list comes in pages. An older keeper has no ids, a later one more words.
func TestList(t *testing.T) {
	k := fakeKeeper(t, map[string]string{
		"list 0":    "12 1001 1795898383 direct 0123abcd-4567cdef\n13 1002 1795898384 exec -\nmore 1000\n",
		"list 1000": "14 4294967294 1795898385 direct\n15 1001 1795898386 exec 89abcdef later words\nend\n",
	})
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	want := []Session{
		{PID: 12, UID: 1001, Since: at(1795898383), Transport: "direct", ID: "0123abcd-4567cdef"},
		{PID: 13, UID: 1002, Since: at(1795898384), Transport: "exec"},
		{PID: 14, UID: 4294967294, Since: at(1795898385), Transport: "direct"},
		{PID: 15, UID: 1001, Since: at(1795898386), Transport: "exec", ID: "89abcdef"},
	}
	if got, err := k.List(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, answer := range []string{"", "12 1001\nend\n", "12 x 1 direct -\nend\n", "12 1001 1 direct -\n"} {
		if got, err := fakeKeeper(t, map[string]string{"list 0": answer}).List(); err == nil {
			t.Errorf("%q: %+v", answer, got)
		}
	}
}

// What is ordered, in whose words, and what is not even asked for.
func TestOrders(t *testing.T) {
	k := fakeKeeper(t, map[string]string{
		"end 12": "ok\n", "end 12 go home, grün": "ok\n", "end 13": "there is no such session\n", "tell noon": "ok\n",
		"renew": "the container is being stopped\n",
	})
	for _, err := range []error{k.End(12, ""), k.End(12, "go home, grün"), k.Tell("noon")} {
		if err != nil {
			t.Error(err)
		}
	}
	for want, err := range map[string]error{"there is no such session": k.End(13, ""), "being stopped": k.Renew()} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, words := range []string{"two\nlines", "\x1b[2J", "\u009b2J", "\xff", strings.Repeat("x", 201)} {
		for _, err := range []error{k.End(12, words), k.Tell(words)} {
			if !errors.Is(err, ErrWords) {
				t.Errorf("%q: %v", words, err)
			}
		}
	}
	if err := At(t.TempDir()).Tell("x"); !errors.Is(err, ErrNoKeeper) {
		t.Errorf("nobody there: %v", err)
	}
}

// A link in the socket's place, which the container's root could make, is not followed.
func TestLinkInPlaceOfKeeper(t *testing.T) {
	real := fakeKeeper(t, map[string]string{"count": "sessions=3\n"})
	if c, err := real.Count(); err != nil || c.Sessions != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(real.dir, paths.Control), filepath.Join(dir, paths.Control)); err != nil {
		t.Fatal(err)
	}
	if c, err := At(dir).Count(); err == nil {
		t.Errorf("the link is followed: %+v", c)
	}
}
