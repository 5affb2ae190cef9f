// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write docs/pam-mkhomedir.md anew")

// scenario is one situation that both modules are put in. Without a reason why
// they must do the same; with one they must differ.
type scenario struct {
	name, options string
	user          string // default nina
	home          string // her home in passwd; default /home/nina
	defs          string // login.defs
	before        string // a shell line, in the namespace
	what          string // silent, or nothing
	why           string
}

const (
	wholeOrNothing = "pam_berth makes a whole home or none. pam_mkhomedir leaves an empty one, and the next login accepts it."
	notAbsolute    = "A relative path depends on the caller's directory, so pam_berth makes no home there. The session is refused, or starts in / where the line is optional."
	notServed      = "pam_berth makes no homes for root and system accounts, which have uids below 1000."
	keptMode       = "pam_berth keeps the skeleton's modes, less the umask. pam_mkhomedir gives all directories 0777 and adds 0222 to files, less the umask."
	plainWords     = "The result is the same. pam_berth tells the user to ask the administrator, and does not say that it creates a directory."
	octalAlways    = "A umask is octal. pam_mkhomedir's helper reads one without a leading zero as decimal, so 77 becomes 0115."
)

// The first seven are those of Linux-PAM's own test,
// modules/pam_mkhomedir/tst-pam_mkhomedir-retval.c, with and without PAM_SILENT.
var scenarios = []scenario{
	{name: "no user", user: ""},
	{name: "unknown user", user: ":"},
	{name: "unknown user, PAM_SILENT", user: ":", what: "silent"},
	{name: "home exists", before: "install -d -m 711 -o 4711 -g 4711 /home/nina"},
	{name: "home exists, PAM_SILENT", what: "silent", before: "install -d -m 711 -o 4711 -g 4711 /home/nina"},
	{name: "no home"},
	{name: "no home, PAM_SILENT", what: "silent"},
	{name: "silent", options: "silent"},
	{name: "debug", options: "debug"},
	{name: "an option that nobody knows", options: "frobnicate=yes"},
	{name: "umask with a leading zero", options: "umask=0077"},
	{name: "umask of three digits", options: "umask=077"},
	{name: "umask without a leading zero", options: "umask=77", why: octalAlways},
	{name: "umask=0", options: "umask=0", why: keptMode},
	{name: "HOME_MODE of login.defs", defs: "HOME_MODE\t0711\nUMASK\t022\n"},
	{name: "HOME_MODE alone", defs: "HOME_MODE 0700\n"},
	{name: "HOME_MODE against umask=", options: "umask=0027", defs: "HOME_MODE 0711\n"},
	{name: "empty login.defs", defs: "# nothing\n"},
	{name: "the seed's line", options: "skel=/etc/skel/ umask=0077"},
	{name: "skeleton is missing", options: "skel=/nonexistent", why: wholeOrNothing},
	{name: "skeleton is missing, PAM_SILENT", options: "skel=/nonexistent", what: "silent", why: wholeOrNothing},
	{name: "skeleton is a file", options: "skel=/etc/passwd", why: wholeOrNothing},
	{name: "skeleton's FIFO", before: "mkfifo /etc/skel/fifo"},
	{name: "skeleton's dangling link", before: "ln -s /nowhere /etc/skel/dangling"},
	{name: "skeleton's read-only and set-id files", before: "cd /etc/skel; touch ro; chmod 444 ro; cp .profile suid; chmod 6755 suid; cd /", why: keptMode},
	{name: "skeleton's closed directory", before: "mkdir -m 700 /etc/skel/closed; echo x >/etc/skel/closed/file; chmod 600 /etc/skel/closed/file", why: keptMode},
	{name: "home is a plain file", before: "echo mine >/home/nina; chown 4711:4711 /home/nina"},
	{name: "home is a link to a home", before: "install -d -m 700 -o 4711 -g 4711 /home/real; ln -s real /home/nina"},
	{name: "home is root's", before: "install -d -m 755 /home/nina"},
	{name: "missing parents", home: "/home/a/b/nina"},
	{name: "parents under umask=077", home: "/home/a/b/nina", options: "umask=077"},
	{name: "parent that others may write", home: "/home/a/nina", before: "mkdir -m 1777 /home/a", why: "Another user who can write beside the home could exchange it while it is being made, so pam_berth makes none there."},
	{name: "parent is a file", home: "/home/a/nina", before: "echo x >/home/a", why: plainWords},
	{name: "home with a trailing slash", home: "/home/nina/", why: "pam_berth tells the user the path that it uses."},
	{name: "relative home", user: "rel", before: "cd /home", why: notAbsolute},
	{name: "home is /", home: "/"},
	{name: "root without a home", user: "root", why: notServed},
	{name: "account of the system", user: "sys", why: notServed},
	{name: "caller is the user", before: "chown 4711 /home; set -- setpriv --reuid 4711 --regid 4711 --clear-groups \"$@\"", why: "Without root's rights pam_berth does nothing and refuses nobody. systemd's sd-pam is such a caller."},
	{name: "caller's umask is 0777", before: "umask 0777"},
}

// outcome is what a module answered, told and left.
type outcome struct{ said, tree []string }

func (o outcome) String() string {
	return strings.Join(append(append([]string{}, o.said...), o.tree...), "\n")
}

// alike leaves out what pam_berth makes in every home and pam_mkhomedir in none.
func (o outcome) alike() string {
	kept := outcome{said: o.said}
	for _, line := range o.tree {
		if !strings.HasSuffix(line, "/.ssh") && !strings.HasSuffix(line, "/.ssh/authorized_keys") {
			kept.tree = append(kept.tree, line)
		}
	}
	return kept.String()
}

func (c scenario) try(t *testing.T, module string) outcome {
	t.Helper()
	s := newSite(t, "")
	s.write("pam.d/test", "session required "+module+" "+c.options+"\n", 0o644)
	if c.home != "" {
		s.write("passwd", fmt.Sprintf("root:x:0:0::/root:/bin/sh\n%s:x:%d:%[2]d::%s:/bin/sh\n", user, uid, c.home), 0o644)
	} else {
		s.write("passwd", fmt.Sprintf("root:x:0:0::/home/root:/bin/sh\n%s:x:%d:%[2]d::/home/nina:/bin/sh\nsys:x:100:100::/home/sys:/bin/sh\nrel:x:4712:4712::relative:/bin/sh\n", user, uid), 0o644)
	}
	if c.defs == "" {
		c.defs = "UMASK 022\n"
	}
	s.write("login.defs", c.defs, 0o644)
	var o outcome
	for _, line := range strings.Split(s.session(c.before, c.user, strings.Fields(c.what)...), "\n") {
		if strings.HasPrefix(line, "open ") || strings.HasPrefix(line, "says ") {
			o.said = append(o.said, line)
		}
	}
	o.tree = tree(t, filepath.Join(s.dir, "home"))
	return o
}

// tree lists mode, owner and name of everything below dir.
func tree(t *testing.T, dir string) (lines []string) {
	t.Helper()
	names := map[uint32]string{0: "root", uid: user}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || path == dir {
			return err
		}
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		kind := map[uint32]string{unix.S_IFDIR: "d", unix.S_IFREG: "-", unix.S_IFLNK: "l"}[st.Mode&unix.S_IFMT]
		owner := names[st.Uid]
		if st.Gid != st.Uid || owner == "" {
			owner = fmt.Sprintf("%d:%d", st.Uid, st.Gid)
		}
		line := fmt.Sprintf("%s%04o %s %s", kind, st.Mode&0o7777, owner, strings.TrimPrefix(path, dir+"/"))
		if target, err := os.Readlink(path); err == nil {
			line += " -> " + target
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return lines
}

// pamVersion is the Linux-PAM that the other module is of.
func pamVersion(t *testing.T) string {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "libpam-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ := strings.Cut(string(out), "-")
	return version
}

// Each scenario with both modules: the same answer, or a reason. What both do is
// written down in docs/pam-mkhomedir.md, which is this test's expectation, too.
func TestSideBySide(t *testing.T) {
	const path = "../docs/pam-mkhomedir.md"
	version := pamVersion(t)
	var doc strings.Builder
	fmt.Fprintf(&doc, docHead, version)
	for _, c := range scenarios {
		if c.user == "" && c.name != "no user" {
			c.user = user
		}
		t.Run(c.name, func(t *testing.T) {
			theirs, ours := c.try(t, "pam_mkhomedir.so"), c.try(t, built.module)
			same := theirs.alike() == ours.alike()
			if same != (c.why == "") {
				t.Errorf("the same: %v; the reason to differ: %q\npam_mkhomedir:\n%v\npam_berth:\n%v", same, c.why, theirs, ours)
			}
			c.describe(&doc, theirs, ours, same)
		})
	}
	if *update {
		if err := os.WriteFile(path, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Another Linux-PAM's module may do otherwise; above it had to do as ours.
	if strings.Contains(string(text), "Linux-PAM "+version) && string(text) != doc.String() {
		t.Errorf("%s is not what the modules do; look at `go test ./pam -run TestSideBySide -update; git diff`", path)
	}
}

const docHead = `<!-- SPDX-License-Identifier: Apache-2.0 -->
# pam_berth beside pam_mkhomedir

Written by ` + "`go test ./pam -run TestSideBySide -update`" + `, and checked by it: both modules in the same situations, with
Linux-PAM %s. The service has one line, ` + "`session required`" + ` and the module. For each: what open and close return
(0 success, 6 permission denied, 10 user unknown, 14 session error), what the user is told, and everything in /home
afterwards, with mode and owner. The user is nina. The skeleton is a file, a program and a link to it. login.defs has
UMASK 022 unless the scenario says otherwise. Where both modules do the same there is one listing, pam_berth's, which also has
.ssh and .ssh/authorized_keys.
`

func (c scenario) describe(doc *strings.Builder, theirs, ours outcome, same bool) {
	fmt.Fprintf(doc, "\n## %s\n\n", c.name)
	for _, given := range [][2]string{{"options", c.options}, {"user", c.user}, {"home", c.home}, {"login.defs", strings.Join(strings.Fields(c.defs), " ")}, {"before", c.before}} {
		if given[1] != "" && (given[0] != "user" || c.user != user) {
			fmt.Fprintf(doc, "%s: `%s`  \n", given[0], given[1])
		}
	}
	if same {
		fmt.Fprintf(doc, "Both:\n\n```\n%v\n```\n", ours)
		return
	}
	fmt.Fprintf(doc, "pam_mkhomedir:\n\n```\n%v\n```\n\npam_berth:\n\n```\n%v\n```\n\nWhy: %s\n", theirs, ours, c.why)
}
