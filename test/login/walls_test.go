// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"berth/test/labs"
)

// belongings is a perl program that has one of each thing that a user can leave in a container, with the
// permissions that let everybody use it. Its arguments are a mark and a number, which are in the names.
const belongings = `use strict; use Socket; use IO::Socket::INET;
my ($mark, $key) = @ARGV;
$0 = $mark;
umask 0;
for my $dir ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", $ENV{HOME}) { open(my $f, ">", "$dir/$mark") or die "$dir: $!" }
chmod 0755, $ENV{HOME} or die;
sub server {
	my ($name) = @_;
	socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un($name)) or die "$name: $!"; listen($s, 9) or die;
	return $s;
}
my @servers = (server("/tmp/$mark.sock"), server("\0$mark"));
my $port = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1") or die;
defined shmget($key, 4096, 01666) or die; defined msgget($key, 01666) or die; defined semget($key, 1, 01666) or die;
$| = 1; print $port->sockport, "\n"; sleep;
__END__
`

// A wall is something of a user's, how another looks for it, and whether that finds it in a shared
// container.
type wall struct {
	what, look string // MARK, KEY, PORT and UID stand for the owner's
	shared     bool
}

func perlConnect(name string) string {
	return `perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un("` + name + `")) or die "$!"'`
}

var walls = []wall{
	{"a process", "grep -azl ^MARK /proc/[0-9]*/cmdline | grep -v /$$/", false},
	{"a file in /tmp", "ls /tmp/MARK", true},
	{"a file in /var/tmp", "ls /var/tmp/MARK", true},
	{"shared memory of POSIX", "ls /dev/shm/MARK", true},
	{"a message queue of POSIX", "ls /dev/mqueue/MARK", true},
	{"shared memory of System V", "perl -e 'exit !defined shmget(KEY, 0, 0)'", true},
	{"a message queue of System V", "perl -e 'exit !defined msgget(KEY, 0)'", true},
	{"a semaphore of System V", "perl -e 'exit !defined semget(KEY, 0, 0)'", true},
	{"what ipcs tells", "ipcs -a | grep -q $(printf 0x%08x KEY)", true},
	{"a socket in /tmp", perlConnect("/tmp/MARK.sock"), true},
	{"an abstract socket", perlConnect(`\0MARK`), true},
	{"the name of an abstract socket", "grep -q @MARK /proc/net/unix", true},
	{"a server on a loopback port", "bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT'", true},
	{"a port in the list of sockets", "grep -qi \":$(printf %04x PORT) \" /proc/net/tcp", true},
	{"a terminal", "find /dev/pts -user UID | grep -q .", true},
	{"a readable file in the home", "ls /home/bob/MARK", true},
	{"the home", "ls /home | grep -qx bob", true},
	{"the name, by name", "getent passwd bob", true},
	{"the name, by number", "getent passwd UID", true},
	{"the group", "getent group bob", true},
	{"the record of names", "ls /run/berth/names/UID", true},
}

// In mode user nothing of a user's is there for another. Each is looked for by its owner, too, and finds it.
func TestWalls(t *testing.T) {
	for _, mode := range []string{"shared", "user"} {
		l := newLab(t, fmt.Sprintf("transport = \"direct\"\nmode = %q\n", mode))
		mark := fmt.Sprintf("mark%d-%d-", os.Getpid(), marks.Add(1))
		key := fmt.Sprint(100000 + os.Getpid())
		in, out := labs.StartWithPipes(t, l.SSH("bob", "perl - "+mark+" "+key))
		if _, err := in.Write([]byte(belongings)); err != nil {
			t.Fatal(err)
		}
		port, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: bob has nothing: %v", mode, err)
		}
		l.shell(t, "bob")
		known := strings.NewReplacer("MARK", mark, "KEY", key, "PORT", strings.TrimSpace(port), "UID", l.UID(t, "bob"))
		for _, w := range walls {
			for who, finds := range map[string]bool{"bob": true, "alice": mode == "shared" && w.shared} {
				// By bash itself: a shell that is given the probe to execute would be found by it.
				cmd := l.SSH(who, "bash -s")
				cmd.Stdin = strings.NewReader(known.Replace(w.look) + "\n")
				if r := finish(cmd); (r.Status == 0) != finds {
					t.Errorf("mode %s, %s: %s finds it: %v, want %v: %+v", mode, w.what, who, !finds, finds, r)
				}
			}
		}
	}
}
