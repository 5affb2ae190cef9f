// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"os"
	"path/filepath"
	"strings"
)

// The text of sshd's configuration is read for two things only: which accounts to ask
// about, and which line is to blame. sshd itself says what is in force.

// line is one keyword with its value.
type line struct {
	file       string
	number     int
	key, value string // the key in lower case
	block      *block // nil: outside of every Match
}

// block is what one Match line begins.
type block struct {
	file         string
	number       int
	criteria     map[string]string // in lower case: the patterns
	forceCommand string            // its ForceCommand
}

// conf is sshd_config and what it includes, in the order in which sshd reads.
type conf struct {
	lines  []line
	blocks []*block
	files  map[string]bool
}

// maxIncludeDepth is how deep sshd follows Include (servconf.c).
const maxIncludeDepth = 16

func readConf(path string) conf {
	c := conf{files: map[string]bool{}}
	c.add(path, filepath.Dir(path), nil, 0)
	return c
}

// intendedConf is the configuration as it is meant to be: with the drop-in, also where
// sshd does not read it.
func (h Host) intendedConf(c conf) conf {
	if c.files[h.DropIn] {
		return c
	}
	return readConf(h.DropIn)
}

// add reads path, which is included within a block. Its Match lines end with it.
func (c *conf) add(path, dir string, within *block, depth int) {
	text, err := os.ReadFile(path)
	if err != nil || depth > maxIncludeDepth {
		return
	}
	c.files[path] = true
	for i, raw := range strings.Split(string(text), "\n") {
		words := words(raw)
		if len(words) == 0 {
			continue
		}
		l := line{file: path, number: i + 1, key: strings.ToLower(words[0]), value: strings.Join(words[1:], " "), block: within}
		switch {
		case l.key == "match":
			within = &block{file: path, number: i + 1, criteria: map[string]string{}}
			for w := words[1:]; len(w) > 0; w = w[min(2, len(w)):] {
				within.criteria[strings.ToLower(w[0])] = strings.Join(w[1:min(2, len(w))], "")
			}
			if _, all := within.criteria["all"]; all {
				within = nil
				break
			}
			c.blocks = append(c.blocks, within)
		case l.key == "forcecommand" && within != nil && within.forceCommand == "":
			within.forceCommand = l.value
		}
		c.lines = append(c.lines, l)
		if l.key == "include" {
			for _, pattern := range words[1:] {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(dir, pattern)
				}
				names, _ := filepath.Glob(pattern) // sorted, as glob(3) does
				for _, name := range names {
					c.add(name, dir, within, depth+1)
				}
			}
		}
	}
}

// words splits a line as sshd does: by blanks, the first also by an equals
// sign, with double quotes, up to a comment.
func words(raw string) []string {
	var w splitter
	quoted := false
	for _, r := range raw {
		switch {
		case r == '"':
			quoted = !quoted
			w.inWord = true
		case quoted:
			w.add(r)
		case r == '#' && !w.inWord:
			return w.end()
		case r == ' ' || r == '\t' || r == '\r' || r == '\f' || r == '=' && len(w.words) == 0:
			w.end()
		default:
			w.add(r)
		}
	}
	return w.end()
}

// splitter gathers words rune by rune.
type splitter struct {
	words  []string
	word   []rune
	inWord bool // also a word that is empty so far
}

func (w *splitter) add(r rune) { w.word, w.inWord = append(w.word, r), true }

// end ends the word, if there is one, and returns all.
func (w *splitter) end() []string {
	if w.inWord {
		w.words = append(w.words, string(w.word))
	}
	w.word, w.inWord = nil, false
	return w.words
}

// targets are the users that the configuration means to confine, and those that it does not.
type targets struct {
	groups, admins []string // patterns of names
	users          []string // patterns of users to be confined
}

// targets takes them from the Match blocks that force session, and, where there is
// none, from what the drop-in would say.
func (c conf) targets() targets {
	var t targets
	for _, b := range c.blocks {
		if filepath.Base(b.forceCommand) != program {
			continue
		}
		add := func(criterion string, wanted, not *[]string) {
			for _, pattern := range strings.Split(b.criteria[criterion], ",") {
				if name, negated := strings.CutPrefix(pattern, "!"); negated && not != nil {
					*not = append(*not, name)
				} else if !negated && pattern != "" {
					*wanted = append(*wanted, pattern)
				}
			}
		}
		add("group", &t.groups, &t.admins)
		add("user", &t.users, nil)
		// The drop-in was two blocks once.
		for _, other := range c.blocks {
			if other.file == b.file && other.forceCommand == "none" {
				add := strings.Split(other.criteria["group"], ",")
				t.admins = append(t.admins, add...)
			}
		}
	}
	if len(t.groups) == 0 {
		t.admins = append(t.admins, adminGroup)
	}
	// Always: a drop-in that names another group by mistake must not hide it.
	t.groups = append(t.groups, Group)
	return t
}

// criteria are the properties of a connection: as a Match line has them, and sshd -C.
var criteria = map[string]string{"host": "host", "address": "addr", "localaddress": "laddr", "localport": "lport", "rdomain": "rdomain"}

// connections returns the connections to ask about: one from this host, and one for each
// Match line that matches connections.
func (c conf) connections() []map[string]string {
	first := map[string]string{"host": "localhost", "addr": "127.0.0.1", "laddr": "127.0.0.1", "lport": "22"}
	all := []map[string]string{first}
	for _, b := range c.blocks {
		conn, differs := map[string]string{}, false
		for key, value := range first {
			conn[key] = value
		}
		for criterion, key := range criteria {
			pattern, found := b.criteria[criterion]
			if !found {
				continue
			}
			if key == "rdomain" {
				first[key] = "none" // sshd -T wants it where a Match does
			}
			one, _, _ := strings.Cut(pattern, ",")
			one, _, _ = strings.Cut(one, "/") // of a network, the first address
			if strings.HasPrefix(one, "!") {
				continue
			}
			conn[key] = strings.NewReplacer("*", "1", "?", "1").Replace(one)
			differs = true
		}
		if differs && len(all) < maxConnections {
			all = append(all, conn)
		}
	}
	for _, conn := range all {
		if _, found := conn["rdomain"]; !found && first["rdomain"] != "" {
			conn["rdomain"] = first["rdomain"]
		}
	}
	return all
}

// blame finds the line that gives key another value than the drop-in does:
// within a Match, as outside of it the drop-in would win.
func (c conf) blame(key string, dropIn string) (line, bool) {
	for _, l := range c.lines {
		if l.key == key && l.block != nil && l.file != dropIn {
			return l, true
		}
	}
	return line{}, false
}
