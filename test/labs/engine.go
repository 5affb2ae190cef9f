// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Engine is a dockerd of a test's own, to be stopped and hung at will.
type Engine struct {
	t      testing.TB
	dir    string
	Socket string
	daemon *exec.Cmd
}

// NewEngine starts one with the image berth:busybox. config is its daemon.json.
func NewEngine(t testing.TB, config string) *Engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-engine")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // users' sessions connect to the socket
		t.Fatal(err)
	}
	e := &Engine{t: t, dir: dir, Socket: filepath.Join(dir, "docker.sock")}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Stop()
		_ = os.RemoveAll(dir)
	})
	e.Start()
	load := exec.Command("sh", "-c", "docker save berth:busybox | docker -H unix://"+e.Socket+" load")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("load the image: %v: %s", err, out)
	}
	return e
}

// Start runs the daemon and waits until it answers.
func (e *Engine) Start() {
	e.t.Helper()
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	// A network namespace of its own: with --bridge none a dockerd deletes the
	// docker0 that it finds (moby, daemon/daemon_unix.go, removeDefaultBridgeInterface).
	// A mount namespace of its own, too, for subordinate ids that the machine does not have; and for cgroups
	// of one version alone, where it has a mixture, which crun refuses.
	const prepare = `for f in subuid subgid; do echo daemon:1000000:65536 >"$0/$f"; mount --bind "$0/$f" "/etc/$f"; done
		if [ -e /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi; exec dockerd "$@"`
	e.daemon = exec.Command("unshare", "--net", "--mount", "--propagation", "slave", "sh", "-c", prepare, e.dir, "--config-file", filepath.Join(e.dir, "daemon.json"), "--host", "unix://"+e.Socket, "--group", "docker",
		"--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"), "--pidfile", filepath.Join(e.dir, "pid"),
		"--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	e.daemon.Stdout, e.daemon.Stderr = log, log
	if err := e.daemon.Start(); err != nil {
		e.t.Fatal(err)
	}
	Eventually(e.t, Patience, func() (bool, string) {
		out, err := exec.Command("docker", "-H", "unix://"+e.Socket, "info").CombinedOutput()
		said, _ := os.ReadFile(filepath.Join(e.dir, "log"))
		return err == nil, string(out) + string(said[max(0, len(said)-4096):])
	})
}

// Stop ends the daemon as a service manager does.
func (e *Engine) Stop() {
	if e.daemon != nil {
		_ = e.daemon.Process.Signal(syscall.SIGCONT)
		_ = e.daemon.Process.Signal(syscall.SIGTERM)
		_ = e.daemon.Wait()
		e.daemon = nil
	}
}

// Signal sends a signal to the daemon.
func (e *Engine) Signal(sig syscall.Signal) {
	e.t.Helper()
	if err := e.daemon.Process.Signal(sig); err != nil {
		e.t.Fatal(err)
	}
}

// Kill ends the daemon as a crash does. Its containerd dies with it; the next daemon of Debian 12 takes the
// pid that it has left for a containerd that runs ("containerd is still running"), and waits for it in vain.
func (e *Engine) Kill() {
	e.t.Helper()
	e.Signal(syscall.SIGKILL)
	_ = e.daemon.Wait()
	e.daemon = nil
	if err := os.Remove(filepath.Join(e.dir, "exec/containerd/containerd.pid")); err != nil {
		e.t.Fatal(err)
	}
}

// PID is the daemon's.
func (e *Engine) PID() int { return e.daemon.Process.Pid }
