// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

// takeAll is the head of every attack's perl program: it does something until that fails, and keeps it.
const takeAll = `use strict; use Socket; use POSIX ();
my ($mark, $victim) = @ARGV; $0 = $mark; $| = 1; my @kept;
sub take { my ($do) = @_; while (defined(my $one = $do->())) { push @kept, $one } }
sub each_of {
	my ($n, $do) = @_;
	pipe(my $r, my $w);
	for (1 .. $n) { defined(my $pid = fork) or die "$!"; next if $pid; $do->(); syswrite $w, "x"; sleep while 1 }
	sysread($r, my $x, 1) for 1 .. $n;
}
`

// hold is their tail.
const hold = `
print "ready\n"; sleep while 1;
__END__
`

// names takes a port and an abstract name.
const names = `use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un("\0usual")) or die;
socket(my $i, AF_INET, SOCK_STREAM, 0); bind($i, pack_sockaddr_in(8080, INADDR_LOOPBACK)) or die; `

// An attack is what one user does to the others of a container (SECURITY.md).
type attack struct {
	name  string
	take  string // perl, as alice
	use   string // what bob then does, in a session of his own
	tty   bool   // that has a terminal
	holds bool   // in mode shared bob can do it, too
	slow  bool   // there it depends on the machine whether he can in time
}

var attacks = []attack{
	{name: "the name of bob's tmux", use: "tmux new -d true; s=$?; rm -rf /tmp/tmux-$(id -u); exit $s",
		take: `mkdir "/tmp/tmux-$victim" or die;`},
	{name: "all terminals", tty: true, use: "tty",
		take: `each_of(4, sub { POSIX::setsid(); take(sub { my $f; open($f, "+<", "/dev/ptmx") ? $f : undef }) });`},
	{name: "all POSIX message queues", use: ": >/dev/mqueue/bob && rm /dev/mqueue/bob",
		take: `my ($n, $open, $attr) = (0, (POSIX::uname())[4] eq "x86_64" ? 240 : 180, pack("q8", 0, 1, 1));
take(sub { my $name = "q" . $n++; my $fd = syscall($open, $name, 0102, 0600, $attr); $fd < 0 ? undef : $fd });`},
	{name: "all System V ids",
		use:  "perl -e 'exit !(defined shmget(0, 1, 01600) and defined msgget(0, 01600) and defined semget(0, 1, 01600))'",
		take: `take(sub { shmget(0, 1, 0600) }); take(sub { msgget(0, 0600) }); take(sub { semget(0, 1, 0600) });`},
	{name: "all space in memory",
		use: "for d in /tmp /var/tmp /dev/shm; do echo x >$d/bob && test -s $d/bob || exit 1; done; rm -f {/tmp,/var/tmp,/dev/shm}/bob",
		take: `for my $d ("/tmp", "/var/tmp", "/dev/shm") {
	open(my $f, ">", "$d/full") or die;
	for my $size (65536, 1) { take(sub { syswrite($f, "x" x $size) }) }
}`},
	{name: "all inodes", use: "mkdir /tmp/bob && rmdir /tmp/bob",
		take: `mkdir "/tmp/many"; my $n = 0; take(sub { open(my $f, ">", "/tmp/many/" . $n++) ? 1 : undef });`},
	{name: "all processes", use: "for i in 1 2 3 4 5; do sleep 0.01 & done; wait", holds: true,
		take: `take(sub { my $pid = fork; sleep while defined $pid && !$pid; $pid });`},
	{name: "busy loops", use: "true", slow: true,
		take: `for (1 .. 200) { defined(my $pid = fork) or die "$!"; 1 until $pid }`},
	{name: "a port and an abstract name", use: "perl -e '" + names + "'", take: names + `push @kept, $s, $i;`},
}

// attackable is a lab whose containers are quickly full.
func attackable(t *testing.T, mode string) *Lab {
	t.Helper()
	return newLab(t, fmt.Sprintf("transport = \"direct\"\nmode = %q\n[container]\nuser_processes = 500\nshm_size = \"8m\"\n"+
		"[container.tmpfs]\n\"/tmp\" = \"mode=1777,size=8m,nr_inodes=4096\"\n\"/var/tmp\" = \"mode=1777,size=8m\"\n"+
		"\"/run\" = \"mode=0755,noexec,nosuid,nodev,size=16m\"\n", mode))
}

// begin has alice attack, until the test ends, and returns the name that her processes have.
func (a attack) begin(t *testing.T, l *Lab) (mark string) {
	t.Helper()
	mark = fmt.Sprintf("mark%d-%d-", os.Getpid(), marks.Add(1))
	cmd := l.SSH("alice", "exec perl - "+mark+" "+l.UID(t, "bob"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, out := labs.StartWithPipes(t, cmd)
	bound := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer bound.Stop()
	if _, err := in.Write([]byte(takeAll + a.take + hold)); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); line != "ready\n" {
		_ = cmd.Wait()
		t.Fatalf("the attack %s fails, and shows nothing: %q, %v, %s", a.name, line, err, stderr.String())
	}
	return mark
}

// works reports whether bob can do what the attack is to keep him from.
func (a attack) works(l *Lab) (bool, string) {
	args := []string{a.use}
	if a.tty {
		args = []string{"-tt", a.use}
	}
	r := finish(l.SSH("bob", args...))
	return r.Status == 0, fmt.Sprintf("%+v", r)
}

// Whatever alice takes in her container, bob has it in his; in a shared one he keeps what SECURITY.md says.
// In both he loses nothing that he types, and the administrator gets in. After her logout all is as before.
func TestAttacks(t *testing.T) {
	var table strings.Builder
	for _, mode := range []string{"shared", "user"} {
		l := attackable(t, mode)
		typist := l.shell(t, "bob")
		typed := ""
		for _, a := range attacks {
			t.Run(mode+", "+a.name, func(t *testing.T) {
				if works, seen := a.works(l); !works {
					t.Fatalf("bob cannot do it before: the test shows nothing: %s", seen)
				}
				t.Cleanup(func() { // when alice has been ended
					eventually(t, patience, func() (bool, string) { return a.works(l) })
				})
				a.begin(t, l)
				for range 5 {
					line := fmt.Sprintf("line %d", strings.Count(typed, "\n"))
					if got := typist.ask("echo " + line + " | tee -a ~/typed"); got != line {
						t.Errorf("bob types %q and sees %q", line, got)
					}
					typed += line + "\n"
				}
				works, seen := a.works(l)
				if !works && (mode == "user" || a.holds) {
					t.Errorf("bob: %s", seen)
				}
				slow := mode == "shared" && a.slow
				if works && mode == "shared" && !a.holds && !slow {
					t.Errorf("the attack takes nothing: the test shows nothing")
				}
				if r := finish(l.SSH("bob", "id -un")); r.Out != "bob\n" && !slow {
					t.Errorf("bob's login: %+v", r)
				}
				if r := finish(l.SSH("admin", "-tt", "tty")); r.Status != 0 {
					t.Errorf("the administrator: %+v", r)
				}
				fmt.Fprintf(&table, "%-6s  %-28s  bob has what he needs: %v\n", mode, a.name, works)
			})
		}
		if got := l.Exec(t, "cat", "/home/bob/typed"); got != typed {
			t.Errorf("%s: bob has typed\n%sand the file has\n%s", mode, typed, got)
		}
	}
	t.Logf("\n%s", table.String())
}

// loginTimes measures bob's login in both labs, in turn, with the processes of the name mark stopped while it
// is the first one's.
func loginTimes(t *testing.T, quiet, attacked *Lab, mark string) (before, during time.Duration) {
	t.Helper()
	signal := func(name string) {
		if out, err := exec.Command("pkill", "-"+name, "-f", "^"+mark).CombinedOutput(); err != nil {
			t.Fatalf("pkill: %v, %s", err, out)
		}
	}
	login := func(l *Lab) time.Duration {
		start := time.Now()
		l.run(t, "bob", "true")
		return time.Since(start)
	}
	var all [2][]time.Duration
	for range 20 {
		signal("STOP")
		all[0] = append(all[0], login(quiet))
		signal("CONT")
		all[1] = append(all[1], login(attacked))
	}
	slices.Sort(all[0])
	slices.Sort(all[1])
	return all[0][10], all[1][10]
}

// slowdown is how much longer than before bob's login may take.
const slowdown = 1.3

// With all attacks at once, and with connections that open no session, bob logs in nearly as quickly as where
// there are none. The two are measured in turn, on the same machine, so what else it does slows both; and a
// series that an unlucky moment has spoiled is measured again. What the attack costs is there each time.
func TestAttacksCostNoTime(t *testing.T) {
	quiet, attacked := attackable(t, "user"), attackable(t, "user")
	for _, l := range []*Lab{quiet, attacked} {
		l.shell(t, "bob") // his container is there
	}
	var busy attack
	for _, a := range attacks {
		switch a.name {
		case "all processes": // it would leave none for the others
		case "busy loops": // in their midst alice herself hardly gets in
			busy = a
		default:
			a.begin(t, attacked)
		}
	}
	labs.Several(30, func() (struct{}, error) {
		idle := attacked.SSH("alice", "-N", "-v")
		stderr, err := idle.StderrPipe()
		if err == nil {
			err = idle.Start()
		}
		if err != nil {
			return struct{}{}, err
		}
		t.Cleanup(func() {
			_ = idle.Process.Kill()
			_ = idle.Wait()
		})
		// It has logged in when it says so.
		buf := make([]byte, 64<<10)
		for said := ""; !strings.Contains(said, "Entering interactive session"); {
			n, err := stderr.Read(buf)
			if err != nil {
				return struct{}{}, err
			}
			said += string(buf[:n])
		}
		return struct{}{}, nil
	})
	mark := busy.begin(t, attacked)
	for series := 1; ; series++ {
		before, during := loginTimes(t, quiet, attacked, mark)
		t.Logf("bob's login, median of 20: %v before, %v during the attacks, %.2f times", before, during, float64(during)/float64(before))
		if float64(during) <= slowdown*float64(before) {
			return
		}
		if series == 3 {
			t.Fatalf("bob's login takes more than %v times as long in three series", slowdown)
		}
	}
}
