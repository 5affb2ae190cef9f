// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"berth/test/labs"
)

const (
	sshdConfig = "/etc/ssh/sshd_config"
	dropIn     = "/etc/ssh/sshd_config.d/50-berth.conf"
	pamSSHD    = "/etc/pam.d/sshd"
)

// reload has sshd read its configuration, and waits until it listens by it.
func reload(t *testing.T, l *labs.Lab) {
	t.Helper()
	log := func() int {
		text, err := os.ReadFile(l.Path("log"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "Server listening on")
	}
	before := log()
	l.Exec(t, "sh", "-c", "kill -HUP $(cat "+l.Path("sshd.pid")+")")
	labs.Eventually(t, labs.Patience, func() (bool, string) { return log() > before, "sshd does not listen again" })
}

// where says whether a login of user lands on the host or in the container: the
// files of the lab's directory are the host's alone.
func where(t *testing.T, l *labs.Lab, user string) string {
	t.Helper()
	r := labs.Finish(l.SSH(user, "if test -e "+l.Path("ready")+"; then echo host; else echo container; fi"))
	if r.Status != 0 {
		t.Fatalf("ssh %s: %+v", user, r)
	}
	return strings.TrimSpace(r.Out)
}

// Each of these leaves a host on which a confined user gets what they must not
// have. `berth check` and `berth up` say so, name the line, and fail; what they
// say to do is done, and they are content again.
func TestCheckFindsWhatIsOpen(t *testing.T) {
	l := labs.New(t, "")
	if r := l.Try("berth", "check"); r.Status != 0 || r.Out != "confined  alice bob carol dave erin\nhost      root admin\n" || r.Err != "" {
		t.Fatalf("a lab as it is raised: %+v", r)
	}
	for _, c := range []struct {
		name  string
		spoil string
		says  []string
		gets  func(t *testing.T) // what the user gets by then, where a login shows it
		mend  string
	}{
		{
			name: "no Include", spoil: "sed -i '/^Include/d' " + sshdConfig + "; cat /etc/ssh/sshd_config.d/10-lab.conf >>" + sshdConfig,
			says: []string{"confined users get a shell on this host", "alice, bob, carol and 2 more", "ForceCommand is none",
				sshdConfig + " does not read " + dropIn, "Include /etc/ssh/sshd_config.d/*.conf"},
			gets: func(t *testing.T) {
				if got := where(t, l, "alice"); got != "host" {
					t.Errorf("alice lands in the %s", got)
				}
			},
			mend: "sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' " + sshdConfig,
		}, {
			name: "no Include, and a group of the site's", spoil: "usermod -g potters dave; gpasswd -d dave berth; sed -i '/^Include/d' " + sshdConfig +
				"; cat /etc/ssh/sshd_config.d/10-lab.conf >>" + sshdConfig + "; sed -i 's/^Match Group berth/&,potters/' " + dropIn,
			says: []string{"alice, bob, carol and 2 more: ForceCommand is none", sshdConfig + " does not read " + dropIn},
			mend: "usermod -g dave -aG berth dave",
		}, {
			name: "no drop-in", spoil: "rm " + dropIn,
			says: []string{"confined users get a shell on this host", dropIn + " is missing"},
		}, {
			name: "another file comes first", spoil: `printf 'Match Group kayakers\n    ForceCommand none\n' >/etc/ssh/sshd_config.d/20-site.conf`,
			says: []string{"confined users get a shell on this host", "for alice, carol: ForceCommand is none", "/etc/ssh/sshd_config.d/20-site.conf:2 says"},
			gets: func(t *testing.T) {
				if alice, bob := where(t, l, "alice"), where(t, l, "bob"); alice != "host" || bob != "container" {
					t.Errorf("alice lands in the %s, bob in the %s", alice, bob)
				}
			},
		}, {
			name: "another file, for one user", spoil: `printf 'Match User dave\n    ForceCommand none\n' >/etc/ssh/sshd_config.d/20-site.conf`,
			says: []string{"confined users get a shell on this host", "for dave: ForceCommand is none"},
		}, {
			name: "another file, for some clients", spoil: `printf 'Match Address 192.0.2.0/24\n    ForceCommand none\n' >/etc/ssh/sshd_config.d/20-site.conf`,
			says: []string{"confined users get a shell on this host", "/etc/ssh/sshd_config.d/20-site.conf:2 says"},
		}, {
			name: "forwarding is on", spoil: `printf 'Match Group berth\n    DisableForwarding no\n    AllowTcpForwarding yes\n' >/etc/ssh/sshd_config.d/20-site.conf`,
			says: []string{"confined users may forward ports by ssh -L, -D and -W, but session.forward does not allow that",
				"AllowTcpForwarding is yes", "/etc/ssh/sshd_config.d/20-site.conf:3 says"},
			gets: func(t *testing.T) {
				// Nobody listens there, wherever her connection leads.
				r := labs.Finish(l.SSH("alice", "-v", "-W", "127.0.0.1:1"))
				if strings.Contains(r.Err, "prohibited") || !strings.Contains(r.Err, "open failed: connect failed") {
					t.Errorf("sshd forwards nothing for alice: %+v", r)
				}
			},
		}, {
			name: "the variables are another file's", spoil: `printf 'Match Group berth\n    SetEnv SITE=1\n' >/etc/ssh/sshd_config.d/20-site.conf`,
			says: []string{"have start-up files and libraries of their homes run on this host", "SetEnv lacks HOME=/var/empty and 16 more"},
		}, {
			name: "user environment", spoil: `echo 'PermitUserEnvironment yes' >/etc/ssh/sshd_config.d/20-site.conf`,
			says: []string{"PermitUserEnvironment is yes", "20-site.conf:1"},
		}, {
			name: "PAM as Debian has it", spoil: "cp /usr/share/berth-lab/pam-stock " + pamSSHD,
			says: []string{"~/.config/systemd/user run on this host", "common-session:", "get no home and no names", "~/.pam_environment", pamSSHD + ":"},
			gets: func(t *testing.T) {
				l.Exec(t, "sh", "-c", `cd "$(dirname "$(find /usr/lib /lib -name pam_warn.so | head -n 1)")" && cp pam_warn.so pam_systemd.so`)
				where(t, l, "alice")
				if text, err := os.ReadFile(l.Path("log")); err != nil || !calledSystemd(string(text), "alice") {
					t.Errorf("alice starts no service manager: %v", err)
				}
			},
		}, {
			name: "PAM without the guard", spoil: "sed -i '/pam_succeed_if/d' " + pamSSHD,
			says: []string{"~/.config/systemd/user run on this host", pamSSHD + ":"},
		}, {
			name: "no PAM", spoil: "echo 'UsePAM no' >/etc/ssh/sshd_config.d/20-site.conf", says: []string{"UsePAM is no"},
		}, {
			name: "the wrong group", spoil: "sed -i 's/^Match Group berth/Match Group bert/' " + dropIn,
			says: []string{"confined users get a shell on this host", "ForceCommand is none"},
		}, {
			// Not by usermod(8): that gives the group all files of root's home, which is the real host's.
			name: "root is a member", mend: "sed -i 's/^root:x:0:[0-9]*:/root:x:0:0:/' /etc/passwd",
			spoil: `sed -i "s/^root:x:0:0:/root:x:0:$(getent group berth | cut -d: -f3):/" /etc/passwd`,
			says:  []string{"administrators get the container and not this host", "for root"},
		}, {
			name:  "an administrator in both, by the old drop-in",
			spoil: `usermod -aG berth admin; sed -i 's/^Match Group berth,!admins/Match Group admins\n    ForceCommand none\nMatch Group berth/' ` + dropIn,
			says:  []string{"administrators have sessions with the variables of confined users", "for admin", "!admins"},
			gets: func(t *testing.T) {
				if r := labs.Finish(l.SSH("admin", "echo $HOME")); r.Out != "/var/empty\n" {
					t.Errorf("admin: %+v", r)
				}
			},
			mend: "gpasswd -d admin berth",
		}, {
			name: "a member by primary group, past the drop-in",
			spoil: "gpasswd -d dave berth; usermod -g berth dave; " +
				`printf 'Match User dave\n    ForceCommand none\n' >/etc/ssh/sshd_config.d/20-site.conf`,
			says: []string{"for dave: ForceCommand is none"},
			mend: "usermod -g dave -aG berth dave",
		}, {
			name: "a login shell alone", spoil: "gpasswd -d bob berth; usermod -s /usr/libexec/berth/berth-session bob; " +
				`sed -i 's/^/command="internal-sftp" /' /home/bob/.ssh/authorized_keys`,
			says: []string{"reach this host past their login shell", "for bob: ", "AllowTcpForwarding is yes", "internal-sftp", "gpasswd -a NAME berth"},
			gets: func(t *testing.T) {
				sftp := exec.Command("sftp", "-F", l.Path("ssh_config"), "-b", "-", "bob")
				sftp.Stdin = strings.NewReader("ls " + l.Path("ready") + "\n")
				if r := labs.Finish(sftp); r.Status != 0 {
					t.Errorf("bob does not see the host's files: %+v", r)
				}
			},
			mend: "gpasswd -a bob berth; sed -i 's/^command=[^ ]* //' /home/bob/.ssh/authorized_keys",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.Exec(t, "sh", "-c", "mkdir -p /run/saved && cp -p "+sshdConfig+" "+dropIn+" "+pamSSHD+" /run/saved")
			l.Exec(t, "sh", "-c", strings.ReplaceAll(c.spoil, "/usr/share/berth-lab/pam-stock", stockPAM(t, l)))
			t.Cleanup(func() {
				l.Exec(t, "sh", "-c", "cd /run/saved && cp -p sshd_config /etc/ssh/ && cp -p 50-berth.conf "+dropIn+" && cp -p sshd "+pamSSHD+" && rm -f /etc/ssh/sshd_config.d/20-site.conf")
				if c.mend != "" {
					l.Exec(t, "sh", "-c", c.mend)
				}
				if r := l.Try("berth", "check"); r.Status != 0 {
					t.Errorf("mended: %+v", r)
				}
				if c.gets != nil {
					reload(t, l)
				}
			})
			if c.gets != nil {
				reload(t, l)
				c.gets(t)
			}
			for _, verb := range []string{"check", "up"} {
				r := l.Try("berth", verb)
				if r.Status != 1 {
					t.Errorf("berth %s: status %d", verb, r.Status)
				}
				for _, want := range c.says {
					if !strings.Contains(r.Err, want) {
						t.Errorf("berth %s does not say %q:\n%s", verb, want, r.Err)
					}
				}
			}
		})
	}
}

// stockPAM writes the package's own /etc/pam.d/sshd, as the machine has it, for
// the lab to copy.
func stockPAM(t *testing.T, l *labs.Lab) string {
	t.Helper()
	path := l.Path("pam-stock")
	text, err := os.ReadFile(pamSSHD)
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "pam_berth") {
		t.Fatalf("%s of this machine is not the package's", pamSSHD)
	}
	return path
}

// readForwarded returns what answers at sshd's own port when user asks for it by -W.
func readForwarded(t *testing.T, l *labs.Lab, user string) string {
	t.Helper()
	port, err := os.ReadFile(l.Path("port"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh", "-F", l.Path("ssh_config"), "-W", "127.0.0.1:"+strings.TrimSpace(string(port)), user)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	banner := make([]byte, 8)
	n, _ := out.Read(banner) // the end of file when it is refused
	return string(banner[:n])
}

// A user who is in both groups is an administrator: their session is the host's,
// variables, forwarding and service manager included, and the rule for members
// goes on to hold for members.
func TestBothGroups(t *testing.T) {
	l := labs.New(t, "")
	l.Exec(t, "usermod", "-aG", "admins", "bob")
	l.Exec(t, "sh", "-c", `cd "$(dirname "$(find /usr/lib /lib -name pam_warn.so | head -n 1)")" && cp pam_warn.so pam_systemd.so`)
	for _, user := range []string{"bob", "admin"} {
		if got := where(t, l, user); got != "host" {
			t.Errorf("%s lands in the %s", user, got)
		}
		r := labs.Finish(l.SSH(user, "echo $HOME; env | grep -E '^(ZDOTDIR|XDG_CONFIG|BASH_ENV|ENV|LD_|TMPDIR|GCONV)'; true"))
		if r.Status != 0 || r.Out != "/home/"+user+"\n" {
			t.Errorf("%s: %+v", user, r)
		}
		if out := readForwarded(t, l, user); !strings.HasPrefix(out, "SSH-2.0") {
			t.Errorf("%s has no forwarding: %q", user, out)
		}
	}
	if got := where(t, l, "alice"); got != "container" {
		t.Errorf("alice lands in the %s", got)
	}
	if out := readForwarded(t, l, "alice"); out != "" {
		t.Errorf("alice has forwarding: %q", out)
	}
	text, err := os.ReadFile(l.Path("log"))
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]bool{"bob": true, "admin": true, "alice": false} {
		if got := calledSystemd(string(text), user); got != want {
			t.Errorf("pam_systemd for %s: %t, want %t", user, got, want)
		}
	}
	if r := l.Try("berth", "check"); r.Status != 0 || !strings.Contains(r.Out, "host      root bob admin\n") {
		t.Errorf("berth check: %+v", r)
	}
}

// Before the first member there is nobody to ask sshd about, and yet the drop-in
// is judged as it will be in force.
func TestCheckBeforeTheFirstMember(t *testing.T) {
	l := labs.New(t, "")
	l.Exec(t, "sh", "-c", "for u in alice bob carol dave erin; do gpasswd -d $u berth; done; groupdel berth")
	if r := l.Try("berth", "check"); r.Status != 0 || !strings.HasPrefix(r.Out, "confined  nobody yet\n") {
		t.Errorf("without the group: %+v", r)
	}
	l.Exec(t, "sed", "-i", "/AllowTcpForwarding/d; /DisableForwarding yes/d", dropIn)
	if r := l.Try("berth", "check"); r.Status != 1 || !strings.Contains(r.Err, "for members of berth: AllowTcpForwarding is yes") {
		t.Errorf("with forwarding: %+v", r)
	}
	l.Exec(t, "rm", dropIn)
	if r := l.Try("berth", "check"); r.Status != 0 || !strings.Contains(r.Err, "nobody is confined yet") {
		t.Errorf("without the drop-in: %+v", r)
	}
}

// C5: a confined user who could be root by the engine is named to the administrator,
// and let in by nobody.
func TestConfinedMemberOfTheEnginesGroup(t *testing.T) {
	l := labs.New(t, "")
	if r := l.Try("berth", "up"); strings.Contains(r.Err, "group of the engine's socket") {
		t.Errorf("nobody is in it: %+v", r)
	}
	l.Exec(t, "sh", "-c", "usermod -aG \"$(stat -L -c %G /run/docker.sock)\" alice")
	r := l.Try("berth", "up")
	if r.Status != 0 || !strings.Contains(r.Err, "alice is confined, and in the group of the engine's socket") || strings.Contains(r.Err, "bob is") {
		t.Errorf("berth up: %+v", r)
	}
	if r := labs.Finish(l.SSH("alice", "id")); r.Status != 255 || !strings.Contains(r.Err, "engine's group") {
		t.Errorf("alice: %+v", r)
	}
	if r := labs.Finish(l.SSH("bob", "id -un")); r.Out != "bob\n" {
		t.Errorf("bob: %+v", r)
	}
}
