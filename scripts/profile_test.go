// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"os/exec"
	"strings"
	"testing"
)

// The profile, as installed, with Debian's own pam-auth-update: enabled, it takes
// the place of pam_mkhomedir, for sessions that have a person in them; removed,
// no line is left. In a mount namespace, on copies of all that the tool writes.
func TestPamAuthUpdate(t *testing.T) {
	dest := t.TempDir()
	if out, err := exec.Command("make", "-s", "-C", "..", "install", "DESTDIR="+dest, "PAM_MODULE_DIR=/lib/security").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const script = `set -eu
exec 2>&1 </dev/null
export DEBIAN_FRONTEND=noninteractive
for d in /etc/pam.d /usr/share/pam-configs /var/lib/pam /var/cache/debconf; do
	mkdir -p "$1/copy$d"
	cp -a "$d/." "$1/copy$d"
	mount --bind "$1/copy$d" "$d"
done
rm -f /usr/share/pam-configs/berth
said() {
	echo "== $1"
	grep -hoE 'pam_(berth|mkhomedir|systemd)\.so.*|pam_unix.so' /etc/pam.d/common-session | xargs echo interactive
	if grep -q pam_berth /etc/pam.d/common-session-noninteractive; then echo and not interactive; fi
}
# What the machine's administrator changed is not of interest here.
pam-auth-update --package --force --enable mkhomedir
said before
install -m 644 "$1/usr/share/pam-configs/berth" /usr/share/pam-configs/berth
pam-auth-update --package
said installed
pam-auth-update --package --enable berth
said enabled
sed -i 's/pam_berth\.so.*/pam_berth.so umask=077/' /etc/pam.d/common-session
pam-auth-update --package
said edited
pam-auth-update --package --remove berth
said removed
`
	out, err := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", dest).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	answers := map[string]string{}
	for _, part := range strings.Split(string(out), "== ")[1:] {
		// What follows is debconf's word that it took the weaker one out.
		lines := strings.Split(part, "\n")
		answers[lines[0]] = strings.Join(strings.Fields(strings.ReplaceAll(lines[1], "pam_systemd.so", "")), " ")
	}
	for when, want := range map[string]string{
		"before": "interactive pam_unix.so pam_mkhomedir.so", "installed": "interactive pam_unix.so pam_mkhomedir.so",
		"enabled": "interactive pam_unix.so pam_berth.so", "edited": "interactive pam_unix.so pam_berth.so umask=077", "removed": "interactive pam_unix.so",
	} {
		if answers[when] != want {
			t.Errorf("%s: %q, want %q\n%s", when, answers[when], want, out)
		}
	}
	if strings.Contains(string(out), "and not interactive") {
		t.Errorf("in common-session-noninteractive:\n%s", out)
	}
	// The home is there before the user's service manager is started in it.
	if strings.Contains(string(out), "pam_systemd.so pam_berth") {
		t.Errorf("after pam_systemd:\n%s", out)
	}
}
