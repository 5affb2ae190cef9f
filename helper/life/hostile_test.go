// SPDX-License-Identifier: Apache-2.0

package life

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"berth/test/labs"
)

// A directory that users could have lead elsewhere while root mounts it is not mounted.
func TestMountThatUserCouldExchange(t *testing.T) {
	l := begin(t, "", "", fmt.Sprintf("[[profile.own.container.mount]]\nsource = %q\ntarget = \"/data\"\n", "/tmp/berth-no-such/%u"))
	l.Exec(t, "sh", "-ec", `sed -i "s|^source = .*berth-no-such.*|source = \"$1\"|" /etc/berth/berth.toml; mkdir /home/alice/data; chown alice /home/alice/data`,
		"sh", l.Path("home/%u/data"))
	log := l.refused(t, l.login("alice", "id -un"), "your container does not run")
	if !strings.Contains(log, "/home/alice belongs to uid "+l.uid(t, "alice")+", who could make the path lead elsewhere") {
		t.Errorf("the log: %s", log)
	}
	// The control: the same directory where root alone could exchange it.
	l.Exec(t, "sh", "-ec", `mkdir -p /home/.data; mv /home/alice/data /home/.data/alice; sed -i "s|^source = .*/data\"|source = \"$1\"|" /etc/berth/berth.toml`,
		"sh", l.Path("home/.data/%u"))
	if r := l.login("alice", "ls -d /data && touch /data/x && echo mounted"); r.Out != "/data\nmounted\n" {
		t.Errorf("%+v", r)
	}
	l.Exec(t, "ls", "/home/.data/alice/x")
}

// Names with characters that mean something to a shell, a path or a mount are names.
func TestOddNames(t *testing.T) {
	l := begin(t, "", "", "")
	alice, err := strconv.Atoi(l.UID(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"100%u", "x$HOME", "a.b+c@corp.example", "äö", "%h", "ro=*[x]"} {
		l.Exec(t, "sh", "-ec", `printf '%s:x:%d:%d::/home/%s:/bin/sh\n' "$1" "$2" "$2" "$1" >>/etc/passwd
			printf '%s:*:19000:0:99999:7:::\n' "$1" >>/etc/shadow
			sed -i -E "/^(berth|kayakers):/s/\$/,$1/" /etc/group
			cp "$3" "/etc/berth/authorized_keys/$1"`, "sh", name, strconv.Itoa(100_000+alice*100+50+i), l.Path("keys/alice.pub"))
		r := l.login("alice", "id -un") // the control, and the key
		if r.Out != "alice\n" {
			t.Fatalf("alice: %+v", r)
		}
		r = labs.Finish(l.SSH("alice", "-l", name, `id -un; pwd; ls -A /home; touch here`))
		if want := fmt.Sprintf("%s\n/home/%[1]s\n%[1]s\n", name); r.Out != want || r.Err != "" {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		l.Exec(t, "ls", "/home/"+name+"/here")
	}
}

// A name that no path may hold gets no container.
func TestNamesOfNoPath(t *testing.T) {
	l := begin(t, "", "", "")
	uid := strconv.Itoa(4_000_000 + len(l.Dir))
	prepare := func(name, home string) string {
		t.Helper()
		record := fmt.Sprintf("%s:x:%s:%[2]s::%s:/bin/sh\nkayakers:x:444:\n", name, uid, home)
		l.Exec(t, "sh", "-ec", `printf %s "$1" >"/var/lib/berth/names/$2"`, "sh", record, uid)
		return l.Try("berth", "prepare", uid).Err
	}
	// In a lab the source of the mount has the name, and its target the home.
	l.Exec(t, "mkdir", "/home/fine")
	if why := prepare("fine", "/home/fine"); why != "" {
		t.Fatalf("the control: %s", why)
	}
	name := l.Container(t) + "-own-" + uid
	l.remove(t, name)
	for _, who := range [][2]string{{"..", "/home/x"}, {".", "/home/x"}, {"a b", "/home/x"}, {"a,b", "/home/x"}, {"a/b", "/home/x"}, {"-v", "/home/x"}, {"a\x01", "/home/x"},
		{"", "/home/x"}, {"fine", "/"}, {"fine", "home"}, {"fine", "/home/../etc"}, {"fine", ""}} {
		if why := prepare(who[0], who[1]); why == "" {
			t.Errorf("%q: a container is made", who)
		}
		if is := l.state(name); is != "" {
			t.Errorf("%q: the container is %s", who, is)
			l.remove(t, name)
		}
	}
}
