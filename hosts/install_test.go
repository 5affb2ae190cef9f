// SPDX-License-Identifier: Apache-2.0

//go:build hosts

package hosts

import (
	"strings"
	"testing"
)

// install does what README.md says under Install, in its order, with what was
// built on this machine. The image is there already.
func install(t *testing.T, h *Host) {
	h.Copy(t, "/root/berth", "Makefile", "build", "man", "pam/pam-configs-berth", "scripts", "sshd")
	accounts(t, h)
	h.Run(t, "make -C /root/berth install")
	h.Run(t, "install -m 644 /usr/share/doc/berth/pam.d-sshd /etc/pam.d/sshd")
	h.Run(t, "groupadd --system berth; gpasswd -a alice berth; gpasswd -a bob berth")
	h.Run(t, "berth up")
	h.Run(t, "sshd -t && systemctl reload ssh")
	// reload returns before sshd listens again, which takes its time here.
	if err := h.until(Patience, h.banner); err != nil {
		t.Fatal(err)
	}
	// Whoever installs keeps a session open, and tries whether a new one opens.
	if r := h.SSH("root", "-o", "ControlPath=none", "hostname"); r.Out != "berth-host\n" {
		t.Fatalf("root's next login: %+v", r)
	}
	if status := h.Run(t, "berth status"); !strings.Contains(status, "running") {
		t.Errorf("berth status:\n%s", status)
	}
}

// accounts makes the host's users: alice has a home and a key in it, bob has a
// password and no home, admin administers.
func accounts(t *testing.T, h *Host) {
	t.Helper()
	h.Run(t, `groupadd --system admins
		useradd -m -s /bin/bash alice
		useradd -s /bin/bash bob
		useradd -m -s /bin/bash -G admins,sudo admin
		for u in alice bob admin; do echo "$u:berth" | chpasswd; done`)
	for _, user := range []string{"alice", "admin"} {
		h.Run(t, "install -d -m 700 -o "+user+" -g "+user+" /home/"+user+"/.ssh && echo '"+h.PublicKey(t, user)+"' >/home/"+user+"/.ssh/authorized_keys")
	}
}
