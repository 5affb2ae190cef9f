// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// victim is what attackers lead the worker to: a tree in which nothing may be
// created, changed, given away or opened. The kernel tells of each event in it
// (inotify(7)), so that nothing can be done and undone.
type victim struct {
	s      *site
	before string
	watch  int
}

// watchVictim makes the tree in the site's directory. Others may write in some
// of it: what a worker makes there with the user's rights is as wrong.
func (s *site) watchVictim() *victim {
	s.t.Helper()
	s.shell("umask 022; mkdir " + s.victim() + "; cd " + s.victim() + `

mkdir etc bob bob/.ssh open hers linked; echo root:x:0:0 >etc/passwd; echo secret >etc/shadow; chmod 600 etc/shadow
echo key >bob/.ssh/authorized_keys; chown -R 4720:4720 bob; chmod 700 bob/.ssh; setfattr -n user.mark -v bob bob
echo all >open/file; chmod 666 open/file; chmod 777 open; echo mine >hers/file; chown -R 4711:4711 hers
echo bob >linked/file; chmod 666 linked/file; chown 4720:4720 linked/file; ln -s /etc/passwd linked/link`)
	v := &victim{s: s, before: s.snapshot()}
	var err error
	v.watch, err = unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	s.must(err)
	s.t.Cleanup(func() { unix.Close(v.watch) })
	s.must(filepath.WalkDir(s.victim(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		var events uint32 = unix.IN_ALL_EVENTS
		if strings.Contains(path, "/linked/") { // its other names are made and moved about
			events = unix.IN_OPEN | unix.IN_ACCESS | unix.IN_MODIFY
		}
		_, err = unix.InotifyAddWatch(v.watch, path, events)
		return err
	}))
	v.events() // the walk's own
	return v
}

func (s *site) victim() string { return filepath.Join(s.dir, "home/victim") }

// events returns what has happened in the tree.
func (v *victim) events() (seen []string) {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(v.watch, buf)
		if err != nil || n <= 0 {
			return seen
		}
		for at := 0; at < n; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
			at += unix.SizeofInotifyEvent
			name := strings.TrimRight(string(buf[at:at+int(e.Len)]), "\x00")
			at += int(e.Len)
			seen = append(seen, fmt.Sprintf("watch %d, event %#x, %q", e.Wd, e.Mask, name))
		}
	}
}

// checkUntouched checks that nothing at all happened to the victim.
func (v *victim) checkUntouched() {
	v.s.t.Helper()
	if seen := v.events(); len(seen) > 0 {
		v.s.t.Errorf("the victim was touched, %d times; first %v", len(seen), seen[:min(len(seen), 10)])
	}
	if after := v.s.snapshot(); after != v.before {
		v.s.t.Errorf("the victim was changed:\n%s\nbefore:\n%s", after, v.before)
	}
	if len(v.events()) == 0 {
		v.s.t.Error("the watch does not see how the tree is read")
	}
}

// snapshot is all that there is to know of the tree.
func (s *site) snapshot() string {
	s.t.Helper()
	var text strings.Builder
	s.must(filepath.WalkDir(s.victim(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		links := fmt.Sprint(st.Nlink, " ", st.Ctim)
		if strings.Contains(path, "/linked/") { // its other names are made and moved about
			links = ""
		}
		fmt.Fprintf(&text, "%s mode %o owner %d:%d inode %d size %d mtime %v %s", path, st.Mode, st.Uid, st.Gid, st.Ino, st.Size, st.Mtim, links)
		buf := make([]byte, 4096)
		if n, err := unix.Llistxattr(path, buf); err == nil {
			fmt.Fprintf(&text, " attributes %q", buf[:n])
		}
		switch d.Type() {
		case 0:
			content, err := os.ReadFile(path)
			fmt.Fprintf(&text, " content %q %v", content, err)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			fmt.Fprintf(&text, " to %q %v", target, err)
		}
		text.WriteByte('\n')
		return nil
	}))
	return text.String()
}
