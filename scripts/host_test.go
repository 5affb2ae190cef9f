// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/labs"
)

const (
	berthSession = "/usr/libexec/berth/berth-session"
	installSSHD  = "/usr/libexec/berth/install-sshd"
)

// raiseBareHost raises a host on which berth was never installed: the packages' own sshd
// and PAM, and nobody in the group.
func raiseBareHost(t *testing.T) *labs.Lab {
	t.Helper()
	l := labs.New(t, "")
	l.Exec(t, "sh", "-c", `set -e
berth down
for u in alice bob carol dave erin; do gpasswd -d $u berth; done
cp `+stockPAM(t, l)+` /etc/pam.d/sshd
rm -rf /etc/ssh/sshd_config.d/50-berth.conf /usr/sbin/berth /usr/libexec/berth/berth-* /usr/libexec/berth/guest/* "$(find /usr/lib /lib -name pam_berth.so | head -n 1)" /etc/berth/engine.sock`)
	reload(t, l)
	return l
}

// target runs `make NAME` in the lab, as an administrator does.
func target(t *testing.T, l *labs.Lab, name string) labs.Result {
	t.Helper()
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return l.Try("make", "-s", "--no-print-directory", "-C", top, name, "DESTDIR=", "PREFIX=/usr")
}

// raiseConfinedHost is a host that was set up in the README's order, with these members.
func raiseConfinedHost(t *testing.T, members ...string) *labs.Lab {
	t.Helper()
	l := raiseBareHost(t)
	if r := target(t, l, "install"); r.Status != 0 {
		t.Fatalf("make install: %+v", r)
	}
	l.Exec(t, installSSHD)
	l.Exec(t, "berth", "up")
	for _, user := range members {
		l.Exec(t, "gpasswd", "-a", user, "berth")
	}
	reload(t, l)
	return l
}

// editedFiles is the text of what is edited, and the names beside it.
func editedFiles(t *testing.T, l *labs.Lab) string {
	t.Helper()
	return l.Exec(t, "sh", "-c", "ls /etc/pam.d /etc/ssh/sshd_config.d; cat "+pamSSHD+" /etc/ssh/sshd_config.d/*")
}

// The README's order: programs, PAM, the drop-in, the container, the reload, and
// people last. At no step does a member get the host.
func TestInstallAsTheReadmeSays(t *testing.T) {
	l := raiseBareHost(t)
	stock := l.Exec(t, "cat", pamSSHD)
	if r := target(t, l, "install"); r.Status != 0 || !strings.Contains(r.Err, "nobody is confined yet") || !strings.Contains(r.Out, installSSHD) {
		t.Fatalf("make install: %+v", r)
	}
	// The lab's own path, in its part of sshd's configuration, is not what is meant.
	if got := strings.ReplaceAll(editedFiles(t, l), l.Dir, ""); strings.Contains(got, "berth") {
		t.Errorf("make install turns something on:\n%s", got)
	}
	group := strings.TrimSpace(l.Exec(t, "stat", "-L", "-c", "%G", "/run/docker.sock"))
	mode := "2755 " + group
	if strings.TrimSpace(l.Exec(t, "berth", "config", "transport")) == "direct" {
		mode = "755 root"
	}
	if got := strings.TrimSpace(l.Exec(t, "stat", "-c", "%a %G", berthSession+"-exec")); got != mode {
		t.Errorf("berth-session-exec: %s, want %s", got, mode)
	}

	l.Exec(t, installSSHD)
	if got := l.Exec(t, "cat", pamSSHD+".berth-old"); got != stock {
		t.Errorf("the old file of PAM is another:\n%s", got)
	}
	// The comments and the order are the package's, but for what is edited.
	edited := l.Exec(t, "cat", pamSSHD)
	for _, line := range strings.Split(stock, "\n") {
		if line != "@include common-session" && !strings.Contains(line, "user_readenv") && !strings.Contains(edited, line) {
			t.Errorf("%q is lost", line)
		}
	}
	if !strings.Contains(edited, "envfile=/etc/default/locale") {
		t.Error("the line with user_readenv=1 is lost altogether")
	}
	l.Exec(t, "berth", "up")
	before := editedFiles(t, l)
	if r := l.Try(installSSHD, "--reload"); r.Status != 0 || !strings.Contains(r.Err, "sshd is reloaded") {
		t.Errorf("once more: %+v", r)
	}
	if after := editedFiles(t, l); after != before {
		t.Errorf("once more, files differ:\n%s\n%s", before, after)
	}
	labs.Eventually(t, labs.Patience, func() (bool, string) {
		r := labs.Finish(l.SSH("admin", "true"))
		return r.Status == 0, r.Err
	})
	if got := where(t, l, "alice"); got != "host" {
		t.Errorf("alice, who is no member, lands in the %s", got)
	}
	l.Exec(t, "gpasswd", "-a", "alice", "berth")
	if got := where(t, l, "alice"); got != "container" {
		t.Errorf("alice lands in the %s", got)
	}
	if out := readForwarded(t, l, "alice"); out != "" {
		t.Errorf("alice has forwarding: %q", out)
	}
	if r := target(t, l, "install"); r.Status != 0 {
		t.Errorf("make install over it: %+v", r)
	}
}

// On a host that is open `make install` says so, and fails.
func TestInstallOnAnOpenHost(t *testing.T) {
	l := raiseBareHost(t)
	l.Exec(t, "usermod", "-g", "berth", "dave")
	r := target(t, l, "install")
	if r.Status == 0 || !strings.Contains(r.Err, "confined users get a shell on this host") || !strings.Contains(r.Err, "for dave") ||
		!strings.Contains(r.Err, "install-sshd") {
		t.Errorf("a member and no drop-in: %+v", r)
	}
	l.Exec(t, "rm", "-f", "/usr/sbin/berth")
	l.Exec(t, "sh", "-c", "echo Nonsense yes >/etc/ssh/sshd_config.d/20-site.conf")
	if r := target(t, l, "install"); r.Status == 0 || !strings.Contains(r.Err, "sshd -t fails already") {
		t.Errorf("an sshd that takes nothing: %+v", r)
	}
	if r := l.Try("test", "-e", "/usr/sbin/berth"); r.Status == 0 {
		t.Error("it was installed all the same")
	}
	l.Exec(t, "rm", "/etc/ssh/sshd_config.d/20-site.conf")
	l.Exec(t, "sh", "-c", "echo 'trnasport = 1' >>/etc/berth/berth.toml")
	if r := target(t, l, "install"); r.Status == 0 || !strings.Contains(r.Err, "berth.toml is wrong") {
		t.Errorf("a wrong berth.toml: %+v", r)
	}
}

// install-sshd changes nothing unless all of it is in force.
func TestInstallSSHDGivesUp(t *testing.T) {
	l := raiseBareHost(t)
	if r := target(t, l, "install"); r.Status != 0 {
		t.Fatalf("make install: %+v", r)
	}
	module := strings.TrimSpace(l.Exec(t, "sh", "-c", "find /usr/lib /lib -name pam_berth.so | head -n 1"))
	for _, c := range []struct {
		name, spoil, mend string
		says              []string
	}{
		{"the PAM module is missing", "mv " + module + " /run/module", "mv /run/module " + module,
			[]string{"names pam_berth.so, which is not installed", pamSSHD + " is as it was"}},
		{"sshd does not read the directory", "cp " + sshdConfig + " /run/conf; cat /etc/ssh/sshd_config.d/*.conf >" + sshdConfig, "cp /run/conf " + sshdConfig,
			[]string{"confined users get a shell on this host", "Include /etc/ssh/sshd_config.d/*.conf", dropIn + " is as it was", pamSSHD + " is as it was"}},
		{"another file opens it", "printf 'Match Group berth\n    ForceCommand none\n' >/etc/ssh/sshd_config.d/20-site.conf", "rm /etc/ssh/sshd_config.d/20-site.conf",
			[]string{"20-site.conf:2 says", dropIn + " is as it was"}},
		{"common-auth undoes it", "cp /etc/pam.d/common-auth /run/; echo 'auth optional pam_env.so user_readenv=1' >>/etc/pam.d/common-auth", "cp /run/common-auth /etc/pam.d/",
			[]string{"~/.pam_environment", "/etc/pam.d/common-auth:", pamSSHD + " is as it was"}},
		{"a stack that was rewritten", "cp " + pamSSHD + " /run/stack; sed -i 's/^@include common-session$/session include common-session/' " + pamSSHD, "cp /run/stack " + pamSSHD,
			[]string{"not exactly one line", "Edit it by hand", "1. ", "2. ", "3. ", "4. "}},
		{"a stack with a line of its own for pam_systemd", "cp " + pamSSHD + " /run/stack; echo 'session optional pam_systemd.so' >>" + pamSSHD, "cp /run/stack " + pamSSHD,
			[]string{"is not the package's: session optional pam_systemd.so", "Edit it by hand"}},
		{"half of the edit", "cp " + pamSSHD + " /run/stack; echo 'session required pam_berth.so' >>" + pamSSHD, "cp /run/stack " + pamSSHD,
			[]string{"~/.config/systemd/user", "it has berth's lines, but they are not enough", "Edit it by hand"}},
		{"a drop-in of one's own that is not enough", "sed 's/AllowTcpForwarding no/AllowTcpForwarding yes/; /DisableForwarding yes/d' /usr/share/berth/50-berth.conf >" + dropIn, "rm " + dropIn,
			[]string{dropIn + " was edited and stays", "may forward ports by ssh -L", pamSSHD + " is as it was"}},
		{"sshd takes nothing", "echo Nonsense >/etc/ssh/sshd_config.d/20-site.conf", "rm /etc/ssh/sshd_config.d/20-site.conf", []string{"sshd -t fails already"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.Exec(t, "sh", "-c", c.spoil)
			before := editedFiles(t, l)
			r := l.Try(installSSHD, "--reload")
			if r.Status == 0 || strings.Contains(r.Err, "done") {
				t.Errorf("%+v", r)
			}
			for _, want := range c.says {
				if !strings.Contains(r.Err, want) {
					t.Errorf("does not say %q:\n%s", want, r.Err)
				}
			}
			if after := editedFiles(t, l); after != before {
				t.Errorf("files differ:\n%s\n--- now:\n%s", before, after)
			}
			l.Exec(t, "sh", "-c", c.mend)
		})
	}
	// What an administrator added stays, and what they wrote into the drop-in.
	l.Exec(t, "sh", "-c", "echo 'account required pam_access.so' >>"+pamSSHD+"; (cat /usr/share/berth/50-berth.conf; echo '# ours') >"+dropIn)
	if r := l.Try(installSSHD); r.Status != 0 || !strings.Contains(r.Err, "was edited and stays") {
		t.Errorf("edited files: %+v", r)
	}
	got := editedFiles(t, l)
	for _, want := range []string{"account required pam_access.so", "# ours", "pam_berth.so", "sshd.berth-old"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	// The package's next version of the file undoes the edit; once more, both old ones are kept.
	l.Exec(t, "cp", stockPAM(t, l), pamSSHD)
	l.Exec(t, installSSHD)
	if got := editedFiles(t, l); !strings.Contains(got, "sshd.berth-old.~1~") {
		t.Errorf("an old copy is lost:\n%s", got)
	}
}

// Taking berth away makes no host user of a confined one, however sshd confines
// them, leaves no container behind, and no PAM stack without its module.
func TestUninstallRefuses(t *testing.T) {
	l := raiseConfinedHost(t, "alice")
	whole := func() string {
		return l.Exec(t, "sh", "-c", "cat "+pamSSHD+" "+dropIn+"; ls -R /usr/libexec/berth /usr/sbin/berth /usr/share/berth; find /usr/lib /lib -name pam_berth.so")
	}
	before := whole()
	refused := func(name string, says ...string) {
		t.Helper()
		r := target(t, l, "uninstall")
		if r.Status == 0 {
			t.Fatalf("%s: not refused: %+v", name, r)
		}
		for _, want := range append(says, "nothing is removed") {
			if !strings.Contains(r.Err, want) {
				t.Errorf("%s: does not say %q:\n%s", name, want, r.Err)
			}
		}
		if after := whole(); after != before {
			t.Errorf("%s: something is removed:\n%s", name, after)
		}
	}
	const confines = "would get a shell on this host: "
	refused("a member", confines+"alice\n")
	l.Exec(t, "sh", "-c", "gpasswd -d alice berth; usermod -g berth dave")
	refused("by primary group", confines+"dave\n")
	if got := where(t, l, "alice"); got != "host" { // which the administrator gave
		t.Errorf("alice lands in the %s", got)
	}
	l.Exec(t, "sh", "-c", "usermod -g dave dave; usermod -s "+berthSession+" erin")
	refused("by login shell", confines+"erin\n")
	l.Exec(t, "usermod", "-s", "/bin/bash", "erin")
	l.Exec(t, "sh", "-c", "printf 'Match User bob\n    ForceCommand "+berthSession+"\n' >/etc/ssh/sshd_config.d/60-site.conf")
	refused("by a Match of the site's", confines+"bob\n")
	l.Exec(t, "sh", "-c", "echo Nonsense >/etc/ssh/sshd_config.d/60-site.conf")
	refused("sshd does not answer", "sshd does not say which users it confines")
	l.Exec(t, "rm", "/etc/ssh/sshd_config.d/60-site.conf")
	refused("the container runs", "the container is there", "berth down")
	l.Exec(t, "sh", "-c", "docker stop -t 0 "+l.Container(t))
	refused("the container is stopped", "the container is there", "berth down")
	l.Exec(t, "berth", "down")
	l.Exec(t, "sh", "-c", "cp -p /etc/pam.d/login /run/; echo 'session required pam_berth.so' >>/etc/pam.d/login")
	refused("another service", "pam_berth.so is still named", "/etc/pam.d/login")
	l.Exec(t, "cp", "-p", "/run/login", "/etc/pam.d/login")

	stock, err := os.ReadFile(pamSSHD)
	if err != nil {
		t.Fatal(err)
	}
	// Elsewhere these are no mounts.
	l.Exec(t, "sh", "-c", "umount /usr/libexec/berth/guest /var/lib/berth/profiles /var/lib/berth/users /var/lib/berth/names /var/lib/berth/lifeline")
	r := target(t, l, "uninstall")
	if r.Status != 0 {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{"/etc/berth", "group berth", "the image berth:"} {
		if !strings.Contains(r.Out, want) {
			t.Errorf("does not say that %s stays:\n%s", want, r.Out)
		}
	}
	if got := l.Exec(t, "cat", pamSSHD); got != string(stock) {
		t.Errorf("PAM is not as it was:\n%s", got)
	}
	if left := l.Exec(t, "sh", "-c", "find /usr/libexec /usr/sbin /usr/share /usr/lib/*/security /lib/*/security /etc/ssh /etc/pam.d -name '*berth*'; ls -d /var/lib/berth 2>/dev/null || true"); left != "" {
		t.Errorf("left: %s", left)
	}
	reload(t, l)
	for _, user := range []string{"admin", "alice"} {
		if got := where(t, l, user); got != "host" {
			t.Errorf("%s lands in the %s", user, got)
		}
	}
}

// What was edited since is not taken away: without the module sessions fail, so
// an edited stack is refused, and an edited drop-in is kept aside.
func TestUninstallKeepsWhatWasEdited(t *testing.T) {
	l := raiseConfinedHost(t)
	l.Exec(t, "berth", "down")
	l.Exec(t, "sh", "-c", "echo '# ours' >>"+pamSSHD+"; echo '# ours' >>"+dropIn)
	if r := target(t, l, "uninstall"); r.Status == 0 || !strings.Contains(r.Err, "still named") || !strings.Contains(r.Err, pamSSHD) {
		t.Fatalf("an edited stack: %+v", r)
	}
	l.Exec(t, "sed", "-i", "/pam_berth/d", pamSSHD)
	r := target(t, l, "uninstall")
	if r.Status != 0 || !strings.Contains(r.Out, dropIn+".removed") || !strings.Contains(r.Out, pamSSHD+".berth-old") {
		t.Errorf("%+v", r)
	}
	if got := l.Exec(t, "cat", pamSSHD); !strings.Contains(got, "# ours") {
		t.Errorf("the edited stack is lost:\n%s", got)
	}
}
