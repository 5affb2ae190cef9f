// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os/exec"
	"testing"
)

// variant is the lab's sshd with one part of its configuration taken away: what a
// defence keeps out must come in where it is missing, or its test shows nothing.
type variant struct {
	lab    *Lab
	config string
}

// variant edits the drop-in with a sed script, and adds global lines.
func (l *Lab) variant(t *testing.T, name, edit, global string) variant {
	t.Helper()
	l.Exec(t, "sh", "-ec", `cp -r /etc/ssh/sshd_config.d "/etc/ssh/$1.d"
sed "s,/sshd_config.d/,/$1.d/," /etc/ssh/sshd_config >"/etc/ssh/$1"
sed -i "$2" "/etc/ssh/$1.d/50-berth.conf"
echo "$3" >"/etc/ssh/$1.d/00-global.conf"
/usr/sbin/sshd -t -f "/etc/ssh/$1"`, "sh", name, edit, global)
	return variant{l, "/etc/ssh/" + name}
}

// SSH logs in by it. Each client has an sshd of its own that serves a pipe (-i):
// none has to be reloaded, and waited for.
func (v variant) SSH(host string, args ...string) *exec.Cmd {
	proxy := "ProxyCommand=" + v.lab.Script() + " exec --lab " + v.lab.Dir + " -- /usr/sbin/sshd -i -f " + v.config
	return v.lab.SSH(host, append([]string{"-o", proxy}, args...)...)
}
