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
	h.Copy(t, "/root/berth", "Makefile", "build", "man", "pam/pam-configs-berth", "helper/internal/admin/engine/seccomp.json", "scripts", "sshd")
	accounts(t, h)
	h.Run(t, `cd /root/berth
		make install
		groupadd --system berth
		make install-sshd
		berth up
		sshd -t && systemctl reload ssh
		for u in alice bob carol; do gpasswd -a $u berth; done`)
	// reload returns before sshd listens again, which takes its time here.
	if err := h.until(Patience, h.banner); err != nil {
		t.Fatal(err)
	}
	// Whoever installs keeps a session open, and tries whether a new one opens.
	if r := h.SSH("root", "-o", "ControlPath=none", "hostname"); r.Out != "berth-host\n" {
		t.Fatalf("root's next login: %+v", r)
	}
	if r := h.Try("berth check && berth status"); r.Status != 0 || !strings.Contains(r.Out, "running") {
		t.Errorf("berth check and status: %+v", r)
	}
}

// accounts makes the host's users: alice and carol have a home and a key in it, bob
// has a password and no home, admin administers.
func accounts(t *testing.T, h *Host) {
	t.Helper()
	h.Run(t, `groupadd --system admins
		useradd -m -s /bin/bash alice
		useradd -m -s /bin/bash carol
		useradd -s /bin/bash bob
		useradd -m -s /bin/bash -G admins,sudo admin
		for u in alice bob carol admin; do echo "$u:berth" | chpasswd; done`)
	for _, user := range []string{"alice", "carol", "admin"} {
		h.Run(t, "install -d -m 700 -o "+user+" -g "+user+" /home/"+user+"/.ssh && echo '"+h.PublicKey(t, user)+"' >/home/"+user+"/.ssh/authorized_keys")
	}
}
