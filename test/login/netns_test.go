// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"
)

// Where PAM has not led sshd into the container's network, a profile that may forward ports has
// no session, and every other has.
func TestForwardingNeedsTheHook(t *testing.T) {
	const missing = "port forwarding is not set up correctly on this host"
	for config, forwards := range map[string]bool{
		"[session]\nforward = [\"local\"]\n": true, "[session]\nforward = [\"remote\", \"agent\"]\n": true,
		"[session]\nforward = []\n": false, "[session]\nforward = [\"agent\"]\n": false,
	} {
		t.Run(strings.Fields(config)[3], func(t *testing.T) {
			l := newLab(t, config)
			finish(l.SSH("alice", "true")) // so that she has a home and a container
			l.Exec(t, "sed", "-i", "/pam_berth.so/d; /pam_succeed_if/d", "/etc/pam.d/sshd")
			r := finish(l.SSH("alice", "echo here"))
			if forwards != (r.Status == 255 && r.Out == "" && strings.Contains(r.Err, missing) && strings.Count(r.Err, "\n") == 1) {
				t.Errorf("%+v", r)
			}
			if !forwards {
				if r.Out != "here\n" {
					t.Errorf("%+v", r)
				}
				return
			}
			id := r.Err[strings.LastIndex(r.Err, "(id ")+4 : strings.LastIndex(r.Err, ")")]
			l.awaitLog(t, "session failed", id, "is the host's", "session required pam_berth.so container")

			// The same program in other namespaces, as PAM may have left them.
			session := []string{"setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups",
				"env", "-i", "SSH_ORIGINAL_COMMAND=echo here", berthSession}
			inside := l.pidOfContainer(t, "alice")
			for name, c := range map[string]struct {
				enter     []string
				said, out string
			}{
				"the container's": {[]string{"nsenter", "--net=/proc/" + inside + "/ns/net"}, "", "here\n"},
				"an empty one":    {[]string{"unshare", "--net"}, "this connection is not in your container's network; connect again", ""},
				"one that a container has left": {[]string{"unshare", "--net", "sh", "-ec", `ip link set lo up; exec "$@"`, "sh"},
					"your container was restarted; connect again", ""},
			} {
				r := finish(l.Command(append(c.enter, session...)...))
				if r.Out != c.out || !strings.Contains(r.Err, c.said) || (r.Err == "") != (c.said == "") {
					t.Errorf("%s: %+v", name, r)
				}
			}
		})
	}
}

// pidOfContainer is the host's pid of the first process of the container that user logs in to.
func (l *Lab) pidOfContainer(t *testing.T, user string) string {
	t.Helper()
	engine := strings.TrimSpace(l.Exec(t, "berth", "config", "engine.socket"))
	return strings.TrimSpace(l.Exec(t, "docker", "-H", "unix://"+engine, "inspect", "-f", "{{.State.Pid}}", l.ContainerOf(t, user)))
}
