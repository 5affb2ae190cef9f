// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Rounds of all scenarios together; BERTH_ROUNDS says otherwise.
const rounds = 10000

// An ambush is a home, who attacks what of it, and what may come of it.
type ambush struct {
	options, home string
	share         int    // of a hundred rounds
	before        string // a shell line for root
	attacks       []string
	copies        int    // hosts that open sessions at once
	reset         string // what each does before a round: see testdata/host.c
	allowed       string // results
}

func ambushes(keys string) map[string]ambush {
	const (
		nina = "install -d -o 4711 -g 4711 -m 755 "
		prof = "install -d -o 4900 -g 4900 -m 755 "
		// What a home that is being made for nina is made of, once it is hers.
		entries = "4711:swap:%[1]s/.berth-new.*:.ssh,sub,.profile,link|4711:swap:%[1]s/.berth-new.*/.ssh:authorized_keys,.authorized_keys.berth.*"
	)
	split := func(attacks string) []string { return strings.Split(attacks, "|") }
	return map[string]ambush{
		"in her home": {
			options: "authorized_keys=" + keys + "/%u", home: "/home/nina", share: 25, copies: 2, allowed: "0",
			before:  nina + "/home/nina",
			attacks: []string{"4711:swap:/home/nina:.ssh", "4711:swap:/home/nina/.ssh:authorized_keys,.authorized_keys.berth.*"},
		},
		"a home below her own directories": {
			home: "/home/hers/sub/nina", share: 10, copies: 2, allowed: "0 6",
			before:  nina + "/home/hers /home/hers/sub",
			attacks: []string{"4711:swap:/home/hers/sub:nina,.berth-new.*", "4711:swap:/home/hers:sub"},
		},
		"a new home in her own directory": {
			options: "authorized_keys=" + keys + "/%u", home: "/home/hers/nina", share: 2, copies: 1, allowed: "0 6", reset: "/home/hers/nina /home/trash",
			before:  nina + "/home/hers; mkdir -m 700 /home/trash",
			attacks: split(fmt.Sprintf(entries, "/home/hers")),
		},
		"a home below another's directory": {
			options: "authorized_keys=" + keys + "/%u", home: "/home/class/nina", share: 29, copies: 2, allowed: "0 6",
			before:  prof + "/home/class; " + nina + "/home/class/nina; " + nina + "/home/class/nina/.ssh; install -o 4711 -m 600 /dev/null /home/class/nina/.ssh/authorized_keys",
			attacks: []string{"4900:turn:/home/class:nina", "4711:swap:/home/class/nina/.ssh:authorized_keys"},
		},
		"a home that a group may exchange, denied": {
			options: "existing=deny", home: "/home/class/nina", share: 25, copies: 2, allowed: "0 6",
			before:  "install -d -m 775 -g 4900 /home/class; " + nina + "/home/class/nina; " + nina + "/home/class/nina/.ssh; install -o 4711 -m 600 /dev/null /home/class/nina/.ssh/authorized_keys",
			attacks: []string{"4900:turn:/home/class:nina", "4900:turn:/home/class:nina"},
		},
		"a new home": {
			options: "mode=0700", home: "/home/nina", share: 2, copies: 2, allowed: "0", reset: "/home/nina /home/trash",
			before:  "mkdir -m 700 /home/trash",
			attacks: append(split(fmt.Sprintf(entries, "/home")), "4900:swap:/home:nina"),
		},
		"repair of a home that all may write": {
			options: "existing=repair mode=0711", home: "/home/nina", share: 2, copies: 1, allowed: "0", reset: "/home/nina /home/trash 0777",
			before:  "mkdir -m 700 /home/trash",
			attacks: []string{"4900:drop:/home/nina", "4900:drop:/home/nina"},
		},
		"repair of a home that a group may write": {
			options: "existing=repair authorized_keys=" + keys + "/%u", home: "/home/nina", share: 3, copies: 1, allowed: "0",
			before:  "install -d -o 4711 -g 4900 -m 2770 /home/nina",
			attacks: []string{"4900:swap:/home/nina:.ssh", "4711:mode:/home/nina:2770"},
		},
		"workers killed": {
			home: "/home/nina", share: 1, copies: 1, allowed: "0 14", before: nina + "/home/nina",
			attacks: []string{"4711:signal::9", "4711:swap:/home/nina:.ssh"},
		},
		"workers stopped": {
			options: "timeout=1", home: "/home/nina", share: 1, copies: 1, allowed: "0 14", before: nina + "/home/nina",
			attacks: []string{"4711:signal::19", "4711:swap:/home/nina:.ssh"},
		},
	}
}

// Users who exchange what the worker is about to touch get nothing done outside
// of the home, nor opened, and keep nobody waiting.
func TestAttackers(t *testing.T) {
	keys := rootsDir(t)
	if err := os.WriteFile(filepath.Join(keys, user), []byte("ssh-ed25519 first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := ambushes(keys)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		t.Run(name, func(t *testing.T) {
			s := newAttackSite(t, c.options, c.home)
			s.patience *= time.Duration(1 + roundCount(t)/rounds)
			v := s.watchVictim()
			log := s.listen()
			n := roundCount(t) * c.share / 100
			before := "umask 022; mkdir /home/stash\n" + c.before + "\nset -- " + built.attacker + " /home/stash /home/victim '" + strings.Join(c.attacks, "' '") + "' -- " + strconv.Itoa(c.copies) + ` "$@"`
			out := s.host(before, append([]string{user, "storm", strconv.Itoa(n / c.copies)}, strings.Fields(c.reset)...)...)
			v.checkUntouched()
			t.Logf("%d rounds\n%s%s", n, out, tally(log.lines()))
			checkResults(t, out, c.allowed)
			s.leftovers()
		})
	}
}

// leftovers checks what is in the homes in the end: in one that is hers nothing
// is root's, nor another attacker's in one that was given to her, and what was
// planted has kept its mode.
func (s *site) leftovers() {
	s.t.Helper()
	s.must(filepath.WalkDir(filepath.Join(s.dir, "home"), func(path string, d fs.DirEntry, err error) error {
		if path == s.victim() {
			return fs.SkipDir
		}
		var st, above unix.Stat_t
		if err := errors.Join(err, unix.Lstat(path, &st), unix.Lstat(filepath.Dir(path), &above)); err != nil {
			return err
		}
		if above.Uid == uid && (st.Uid == 0 || st.Uid == 4900 && strings.Contains(path, "/trash/")) {
			s.t.Errorf("%s is of uid %d, in a directory of hers", path, st.Uid)
		}
		kind, mode := st.Mode&unix.S_IFMT, st.Mode&0o777
		if kind == unix.S_IFIFO && mode != 0o604 || kind == unix.S_IFREG && st.Nlink > 1 && (mode != 0o666 || st.Uid != 4720) {
			s.t.Errorf("%s was planted, and has mode %o and owner %d", path, st.Mode, st.Uid)
		}
		return nil
	}))
}

// roundCount is how many rounds there are in all.
func roundCount(t *testing.T) int {
	n := rounds
	if text := os.Getenv("BERTH_ROUNDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// newAttackSite is a site in memory, where each call is quick, with the home given.
func newAttackSite(t *testing.T, options, home string) *site {
	t.Setenv("TMPDIR", "/dev/shm")
	s := newSite(t, options)
	s.write("passwd", fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::%s:/bin/sh\n", user, uid, uid, home), 0o644)
	return s
}

// checkResults checks that every open ended in one of the ways allowed, and none by
// its limit of 30 seconds.
func checkResults(t *testing.T, out, allowed string) {
	t.Helper()
	seen := regexp.MustCompile(`(?m)^(result|longest) (\d+)`).FindAllStringSubmatch(out, -1)
	if len(seen) < 2 {
		t.Errorf("no results:\n%s", out)
	}
	for _, r := range seen {
		if n, _ := strconv.Atoi(r[2]); r[1] == "longest" && n >= 30000 || r[1] == "result" && !slices.Contains(strings.Fields(allowed), r[2]) {
			t.Errorf("%s:\n%s", r[0], out)
		}
	}
}

// tally is how often the log says what, without numbers.
func tally(log string) string {
	seen := map[string]int{}
	digits := regexp.MustCompile(`\d+`)
	for _, line := range strings.Split(log, "\n") {
		if _, text, ok := strings.Cut(line, "pam_berth(test:session): "); ok {
			seen[digits.ReplaceAllString(text, "N")]++
		}
	}
	var lines []string
	for text, n := range seen {
		lines = append(lines, fmt.Sprintf("%7d  %s\n", n, text))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
