// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"berth/test/labs"
)

// config is what the lab has that a default installation has not: room for 200
// sessions of one user. The default transport serves both of berth's columns.
// user_processes counts the threads of berth-session on the host as well, about
// ten a session.
const config = `transport = "auto"
[container]
user_processes = 8192
[session]
limit = 1000
`

// raiseWith raises a lab with config laid over its berth.toml.
func raiseWith(config string) (*labs.Lab, error) {
	file, err := os.CreateTemp("", "berth-bench-*.toml")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(config); err != nil {
		return nil, err
	}
	file.Close()
	return labs.Raise("--config", file.Name())
}

// prepare gives the lab's sshd two more ports, each with a ForceCommand of its
// own (the exec transport's program; the seed's script), and an account without
// berth, and returns the columns.
func prepare(ctx context.Context, l *labs.Lab) ([]column, error) {
	lab := l.Dir
	keys, err := filepath.Glob(filepath.Join(lab, "keys", "*.pub"))
	if err != nil || len(keys) == 0 {
		return nil, fmt.Errorf("no public keys in %s/keys (%v)", lab, err)
	}
	container, err := os.ReadFile(filepath.Join(lab, "container"))
	if err != nil {
		return nil, fmt.Errorf("the lab's container: %w", err)
	}
	var ports [2]int
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	// The first value that sshd finds counts: of the group's block only the
	// ForceCommand is overridden.
	const script = `set -e
lab=$1 container=$2 exec=$3 cli=$4
useradd -m -s /bin/bash -G "$(stat -L -c %G /etc/berth/engine.sock)" bencher
echo bencher:berth | chpasswd
install -d -o bencher -g bencher -m 700 /home/bencher/.ssh
cat "$lab"/keys/*.pub >/home/bencher/.ssh/authorized_keys
chown bencher:bencher /home/bencher/.ssh/authorized_keys
cat >/etc/berth/execdocker.sh <<EOS
#!/bin/sh
[ -t 0 ] && t=t
exec docker exec -i\$t -u "\$(id -u)" -w / $container /bin/bash -c "\$SSH_ORIGINAL_COMMAND"
EOS
chmod 755 /etc/berth/execdocker.sh
cat >/etc/ssh/sshd_config.d/20-bench.conf <<EOS
Port $exec
Port $cli
Match LocalPort $exec
	ForceCommand /usr/libexec/berth/berth-session-exec
Match LocalPort $cli
	ForceCommand /etc/berth/execdocker.sh
Match all
EOS
/usr/sbin/sshd -t
kill -HUP "$(cat "$lab/sshd.pid")"
`
	cmd := exec.CommandContext(ctx, "scripts/lab", "exec", "--lab", lab, "--", "sh", "-c", script, "sh",
		lab, strings.TrimSpace(string(container)), fmt.Sprint(ports[0]), fmt.Sprint(ports[1]))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("preparing the lab: %w: %s", err, out)
	}
	for _, port := range ports {
		if err := awaitPort(ctx, port); err != nil {
			return nil, err
		}
	}
	base := []string{"-F", filepath.Join(lab, "ssh_config"), "-o", "HostKeyAlias=lab", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		// Clients of 9.5 and later send keys in a rhythm of 20 ms.
		"-o", "IgnoreUnknown=ObscureKeystrokeTiming", "-o", "ObscureKeystrokeTiming=no"}
	with := func(name, transport string, more ...string) column {
		return column{ctx: ctx, name: name, transport: transport, args: append(base[:len(base):len(base)], append(more, "alice")...)}
	}
	bencher := []string{"-o", "User=bencher"}
	columns := []column{
		with("plain", "", bencher...),
		with("direct", "direct", "-o", "User=alice"),
		with("exec", "exec", "-o", fmt.Sprintf("Port=%d", ports[0])),
		with("CLI", "", append(bencher, "-o", fmt.Sprintf("Port=%d", ports[1]))...),
	}
	for _, c := range columns {
		if err := c.checkTransport(l); err != nil {
			return nil, err
		}
	}
	return columns, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func awaitPort(ctx context.Context, port int) error {
	for range 500 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("sshd does not listen on %d", port)
}
