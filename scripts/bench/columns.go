// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// prepare makes, in the lab, an account without berth and a second sshd that
// differs from the lab's by a ForceCommand: the seed's, with -i for -it.
func prepare(lab string) ([]column, func(), error) {
	name, err := containerName(lab)
	if err != nil {
		return nil, nil, err
	}
	key, err := filepath.Glob(filepath.Join(lab, "keys", "*.pub"))
	if err != nil || len(key) == 0 {
		return nil, nil, fmt.Errorf("no public keys in %s/keys (%v)", lab, err)
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	script := fmt.Sprintf(`set -e
engine=$(stat -L -c %%G /etc/berth/engine.sock)
useradd -m -s /bin/bash -G "$engine" bencher
echo bencher:berth | chpasswd
install -d -o bencher -g bencher -m 700 /home/bencher/.ssh
cat %s/keys/*.pub >/home/bencher/.ssh/authorized_keys
chown bencher:bencher /home/bencher/.ssh/authorized_keys
cat >/etc/berth/execdocker.sh <<'EOS'
#!/bin/sh
exec docker exec -i -u "$(id -u)" -w / %s /bin/bash -c "$SSH_ORIGINAL_COMMAND"
EOS
chmod 755 /etc/berth/execdocker.sh
exec /usr/sbin/sshd -D -f /etc/ssh/sshd_config -p %d -o PidFile=none -o ForceCommand=/etc/berth/execdocker.sh
`, lab, name, port)
	sshd := exec.Command("scripts/lab", "exec", "--lab", lab, "--", "sh", "-c", script)
	sshd.Stderr = os.Stderr
	if err := sshd.Start(); err != nil {
		return nil, nil, fmt.Errorf("second sshd: %w", err)
	}
	stop := func() {
		_ = sshd.Process.Kill()
		_ = sshd.Wait()
	}
	if err := listening(port); err != nil {
		stop()
		return nil, nil, err
	}
	config := filepath.Join(lab, "ssh_config")
	as := []string{"-F", config, "-o", "User=bencher", "-i", strings.TrimSuffix(key[0], ".pub")}
	return []column{
		{"plain", append(as, "alice")},
		{"berth", []string{"-F", config, "alice"}},
		{"docker CLI", append(as[:len(as):len(as)], "-o", fmt.Sprintf("Port=%d", port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "alice")},
	}, stop, nil
}

func containerName(lab string) (string, error) {
	text, err := os.ReadFile(filepath.Join(lab, "container"))
	if err != nil {
		return "", fmt.Errorf("the lab's container: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func listening(port int) error {
	for range 500 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			c.Close()
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the second sshd does not listen on %d", port)
}

// masters opens one connection for each column, for its commands to share.
func masters(lab string, columns []column) (shared []column, closeAll func(), err error) {
	closeAll = func() {
		for _, c := range shared {
			_ = exec.Command("ssh", append([]string{"-O", "exit"}, c.args...)...).Run()
		}
	}
	for i, c := range columns {
		path := filepath.Join(lab, fmt.Sprintf("mux%d", i))
		args := append([]string{"-o", "ControlPath=" + path}, c.args...)
		if err := exec.Command("ssh", append([]string{"-M", "-N", "-f"}, args...)...).Run(); err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("%s: master: %w", c.name, err)
		}
		shared = append(shared, column{c.name, args})
	}
	return shared, closeAll, nil
}

// idle opens one session in each column and adds up the memory of what stays
// for it beside the program itself.
func idle(columns []column) ([]float64, error) {
	patterns := [][]string{nil, {"berth-session$", "berth-enter session "}, {"^docker exec -i "}}
	result := []float64{0, 0, 0}
	for i, c := range columns {
		cmd := c.command("echo up; exec sleep 3000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		time.Sleep(3 * time.Second) // idle is what comes after the start
		for _, p := range patterns[i] {
			pids, _ := exec.Command("pgrep", "-f", p).Output()
			for _, pid := range strings.Fields(string(pids)) {
				result[i] += pss(pid)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return result, nil
}

// pss is a process's proportional set size in KiB (proc(5), smaps_rollup).
func pss(pid string) float64 {
	text, _ := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			v, _ := strconv.ParseFloat(f[1], 64)
			return v
		}
	}
	return 0
}
