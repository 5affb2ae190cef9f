// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/labs"
)

// Users have a key each on this machine. Their accounts on the host are a test's
// to make.
var Users = []string{"alice", "bob", "carol", "admin"}

// configure writes what the ssh client needs to know of the host.
func (h *Host) configure(port string) error {
	hostKey, err := os.ReadFile(filepath.Join(h.image, "hostkey.pub"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.path("known_hosts"), fmt.Appendf(nil, "[127.0.0.1]:%s %s", port, hostKey), 0o600); err != nil {
		return err
	}
	// root's commands share one connection: on an emulated processor it takes
	// seconds to open one.
	conf := fmt.Sprintf("Host root\n    User root\n    IdentityFile %s\n    ControlMaster auto\n    ControlPersist yes\n    ControlPath %s\n",
		filepath.Join(h.image, "key"), h.path("mux"))
	for _, user := range Users {
		if _, err := output(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", user, "-f", h.path(user))); err != nil {
			return err
		}
		conf += fmt.Sprintf("Host %s\n    User %s\n    IdentityFile %s\n", user, user, h.path(user))
	}
	conf += fmt.Sprintf(`Host *
    HostName 127.0.0.1
    Port %s
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile %s
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    ConnectTimeout 120
    LogLevel ERROR
`, port, h.path("known_hosts"))
	if err := os.WriteFile(h.path("address"), []byte("127.0.0.1:"+port), 0o600); err != nil {
		return err
	}
	return os.WriteFile(h.path("ssh_config"), []byte(conf), 0o600)
}

// Client is a program that knows the host's users by name: ssh, scp or sftp.
func (h *Host) Client(program string, args ...string) *exec.Cmd {
	return exec.Command(program, append([]string{"-F", h.path("ssh_config")}, args...)...)
}

// SSH runs the ssh client as a user of the host, with args behind the name.
func (h *Host) SSH(user string, args ...string) labs.Result {
	return labs.FinishIn(h.Client("ssh", append([]string{user}, args...)...), Patience)
}

// Run runs a shell script as the host's root, which ends with the first command
// that fails, and returns what it prints.
func (h *Host) Run(t testing.TB, script string) string {
	t.Helper()
	r := h.Try(script)
	if r.Status != 0 {
		t.Fatalf("as root: %s: %+v", script, r)
	}
	return r.Out
}

// Try is Run for scripts that may fail.
func (h *Host) Try(script string) labs.Result { return h.within(Patience, script) }

func (h *Host) within(bound time.Duration, script string) labs.Result {
	return labs.FinishIn(h.Client("ssh", "root", "set -e\n"+script), bound)
}

// Copy copies files of the source tree, by their paths in it, into a directory
// of the host.
func (h *Host) Copy(t testing.TB, dir string, files ...string) {
	t.Helper()
	tar := exec.Command("tar", append([]string{"-C", Top(), "-c"}, files...)...)
	unpack := h.Client("ssh", "root", "mkdir -p "+dir+" && tar -C "+dir+" --no-same-owner -x")
	pipe, err := tar.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	unpack.Stdin = pipe
	if err := tar.Start(); err != nil {
		t.Fatal(err)
	}
	r := labs.FinishIn(unpack, Patience)
	if err := tar.Wait(); err != nil || r.Status != 0 {
		t.Fatalf("copy %q: %v, %+v", files, err, r)
	}
}

// PublicKey is the line of a user's key for authorized_keys.
func (h *Host) PublicKey(t testing.TB, user string) string {
	t.Helper()
	text, err := os.ReadFile(h.path(user + ".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// banner is an error while no sshd greets.
func (h *Host) banner() error {
	address, err := os.ReadFile(h.path("address"))
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", string(address))
	if err != nil {
		return err
	}
	defer conn.Close()
	// What qemu holds back for a host without a network is lost with it.
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Read(make([]byte, 4))
	return err
}

// hangUp ends root's shared connection.
func (h *Host) hangUp() {
	if _, err := os.Lstat(h.path("mux")); err == nil {
		_ = h.Client("ssh", "-O", "exit", "root").Run()
	}
}
