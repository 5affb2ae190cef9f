// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// seedScript is the seed's script up to where it enters the container: what
// stood in pam_exec's line.
const seedScript = `#!/usr/bin/env sh
if [ -n "$PAM_USER" ];then
  USERNAME=$PAM_USER
elif [ -n "$USER" ];then
  USERNAME=$USER
elif [ -n "$SUDO_USER" ];then
  USERNAME=$SUDO_USER
else
  exit 0
fi
USERHOME=$(eval echo ~$USERNAME)
if [ ! -d $USERHOME/.ssh ];then
  mkdir -p $USERHOME/.ssh
  touch ${USERHOME}/.ssh/authorized_keys
  chmod 644 ${USERHOME}/.ssh/authorized_keys
fi
`

// rivals are the columns of the table; the first is the measure.
var rivals = []string{"pam_berth", "pam_mkhomedir", "pam_exec"}

// BenchmarkModules prints, of one run and side by side: how long opening a
// session takes, with everything in place and the first time (medians), and what
// the module adds to sshd's monitor while the session is open.
func BenchmarkModules(b *testing.B) {
	script := filepath.Join(b.TempDir(), "userlogin.sh")
	if err := os.WriteFile(script, []byte(seedScript), 0o755); err != nil {
		b.Fatal(err)
	}
	lines := map[string]string{
		"pam_berth": "session required " + built.module, "pam_mkhomedir": "session required pam_mkhomedir.so", "pam_exec": "session required pam_exec.so " + script,
	}
	fmt.Printf("\n%-42s %14s %14s %14s %11s %11s\n", "", rivals[0], rivals[1], rivals[2], "1st/2nd", "1st/3rd")
	print := func(what string, value func(rival string) float64) {
		fmt.Printf("%-42s", what)
		var values []float64
		for _, rival := range rivals {
			values = append(values, value(rival))
			fmt.Printf(" %14.1f", values[len(values)-1])
		}
		for _, other := range values[1:] {
			if other <= 0 {
				fmt.Printf(" %11s", "-")
			} else {
				fmt.Printf(" %11.2f", values[0]/other)
			}
		}
		fmt.Println()
	}
	print("open, everything in place, µs", func(rival string) float64 { return median(b, lines[rival], false, 500) })
	// Few in one process: libpam keeps all that its modules have looked up, and searches it each time.
	both := lines["pam_berth"] + "\n" + lines["pam_berth"] + " container"
	fmt.Printf("%-42s %14.1f\n", "open, container in place, µs", median(b, lines["pam_berth"]+" container", false, 20))
	fmt.Printf("%-42s %14.1f\n", "open, both in place, µs", median(b, both, false, 20))
	fmt.Printf("%-42s %14.1f\n", "open, both, ports may be forwarded, µs", median(b, both+"\n# forwarding nowhere", false, 20))
	fmt.Printf("%-42s %14.1f\n", "the same, an empty network made each time", median(b, both+"\n# forwarding", false, 20))
	print("open, first, µs", func(rival string) float64 { return median(b, lines[rival], true, 1) })
	added := monitors(b, lines)
	print("added to sshd's monitor: PSS, kB", func(rival string) float64 { return float64(added[rival].pss) })
	print("added to sshd's monitor: private dirty, kB", func(rival string) float64 { return float64(added[rival].dirty) })
	print("added to sshd's monitor: threads", func(rival string) float64 { return float64(added[rival].threads) })
	for range b.N {
		// Measured above: what counts is in the table.
	}
	b.ReportMetric(0, "ns/op")
}

// monitors opens a session with each module and one with none, five times, all
// open at once in each round because PSS shares out what they have in common.
// It returns the medians of what each has more than the one with none.
func monitors(b *testing.B, lines map[string]string) map[string]monitor {
	b.Helper()
	// Pages of a file that was just built and not written yet would count as
	// dirtied by whoever has them mapped.
	if out, err := exec.Command("sync", built.module).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	all := map[string][]monitor{}
	for range 5 {
		func() {
			looks := map[string]func() monitor{}
			for _, rival := range append([]string{"none"}, rivals...) {
				look, end := openSession(b, lines[rival])
				defer end()
				looks[rival] = look
			}
			none := looks["none"]()
			for _, rival := range rivals {
				m := looks[rival]()
				all[rival] = append(all[rival], monitor{m.pss - none.pss, m.dirty - none.dirty, m.threads - none.threads})
			}
		}()
	}
	middle := map[string]monitor{}
	for rival, seen := range all {
		pick := func(of func(monitor) int) int {
			var values []int
			for _, m := range seen {
				values = append(values, of(m))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		middle[rival] = monitor{pick(func(m monitor) int { return m.pss }), pick(func(m monitor) int { return m.dirty }), pick(func(m monitor) int { return m.threads })}
	}
	return middle
}

// listen is a keeper, in perl: it accepts at each of its arguments.
const listen = `use IO::Select; use IO::Socket::UNIX;
my $all = IO::Select->new(map { IO::Socket::UNIX->new(Local => $_, Listen => 10) } @ARGV);
for (;;) { $_->accept for $all->can_read }
`

// median opens a session rounds times in one process; for a first open it does
// so in a new home 21 times and takes the middle one.
func median(b *testing.B, line string, first bool, rounds int) float64 {
	b.Helper()
	dir, err := os.MkdirTemp("", "pam_bench")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "listen"), []byte(listen), 0o644); err != nil {
		b.Fatal(err)
	}
	script := fmt.Sprintf(`set -e; umask 022; chmod 755 %[1]s; cd %[1]s; mkdir home pam.d
echo 'nina:x:4711:4711::/home/nina:/bin/sh' >passwd; echo '%[2]s' >pam.d/sshd; (cat /etc/group; printf "berth:x:31900:nina\\nadmins:x:31901:\\n") >group
mount --bind passwd /etc/passwd; mount --bind home /home; mount --bind group /etc/group; cd /
mount -t tmpfs none /var/lib; mkdir -p /var/lib/berth/users /var/lib/berth/profiles/p/c; ln -s ../profiles/p/c /var/lib/berth/users/4711
if grep -q forwarding %[1]s/pam.d/sshd; then touch /var/lib/berth/forwarding; fi
mount -t tmpfs -o mode=755 none /run; mkdir /run/berth; touch /run/berth/nowhere
if grep -q nowhere %[1]s/pam.d/sshd; then unshare --net=/run/berth/nowhere true; fi
unshare --net --mount sh -ec 'D=/var/lib/berth/profiles/p/c; mount -t tmpfs none /run; mkdir -p /run/berth/private/serve
mount --bind $D /run/berth/private/serve
exec perl %[1]s/listen $D/control $D/socket' &
trap "kill $!" EXIT; until [ -S /var/lib/berth/profiles/p/c/socket ]; do :; done
if [ %[3]v = true ]; then
	for i in $(seq 21); do rm -rf /home/nina; %[4]s %[1]s/pam.d sshd nina bench 1; done | sort -k2n | sed -n 11p
else
	%[4]s %[1]s/pam.d sshd nina bench 1 >/dev/null; %[4]s %[1]s/pam.d sshd nina bench %[5]d
fi`, dir, line, first, built.host, rounds)
	out, err := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script).CombinedOutput()
	var ns float64
	if _, serr := fmt.Sscanf(strings.TrimSpace(string(out)), "median %f", &ns); err != nil || serr != nil {
		b.Fatalf("%s: %v, %v: %s", line, err, serr, out)
	}
	return ns / 1000
}
