// SPDX-License-Identifier: Apache-2.0

// Package hosts boots whole Debian hosts under qemu, each with its own kernel,
// systemd, sshd and engine, and drives them over ssh. It shows what a lab of
// scripts/lab cannot have: cgroup v2, overlay2, AppArmor, auditd, reboots, and a
// root who has every capability. The processors are emulated, so that any machine
// can run it, and everything takes ten times as long.
package hosts

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// BootPatience bounds a boot, Patience everything else.
	BootPatience = 10 * time.Minute
	Patience     = 5 * time.Minute
)

// Host is a running host.
type Host struct {
	dir    string // its files: the console's log, ssh_config, the users' keys
	image  string // what it was booted from
	boot   string // the boot_id of now
	qemu   *exec.Cmd
	exited chan struct{} // qemu has ended
}

// Boot boots image and waits until systemd says that it runs. The host ends with
// the test, and nothing of it is kept. What its console showed is part of a failure.
func Boot(t testing.TB, image *Image) *Host {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := overlay(disk, image.Disk, "qcow2"); err != nil {
		t.Fatal(err)
	}
	h, err := start(image.Dir, disk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console's last lines:\n%s", h.Console())
		}
		h.Close()
	})
	if err := h.wait(""); err != nil {
		t.Fatal(err)
	}
	return h
}

// start starts qemu with a disk.
func start(image, disk string, args ...string) (*Host, error) {
	// Not t.TempDir: the path of a unix socket has little room.
	dir, err := os.MkdirTemp("", "berth-qemu")
	if err != nil {
		return nil, err
	}
	h := &Host{dir: dir, image: image, exited: make(chan struct{})}
	monitor := filepath.Join(dir, "monitor")
	h.qemu = exec.Command("qemu-system-x86_64", append([]string{
		"-M", "q35", "-m", "3072", "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none",
		// No processor with wide vectors: emulated, they are slower than none.
		"-accel", "tcg,thread=multi", "-cpu", "Nehalem",
		"-kernel", filepath.Join(image, "kernel"), "-initrd", filepath.Join(image, "initrd"),
		"-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off",
		"-drive", "if=virtio,format=qcow2,cache=unsafe,file=" + disk,
		// restrict: the host reaches nothing, neither this machine nor the world.
		"-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-rng-pci", "-serial", "file:" + h.path("console"), "-monitor", "unix:" + monitor + ",server,nowait",
	}, args...)...)
	said, err := os.Create(h.path("qemu"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer said.Close()
	h.qemu.Stdout, h.qemu.Stderr = said, said
	// A test that is killed takes its host along. The kernel means the parent's
	// thread: it must live for as long as qemu does.
	h.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := h.qemu.Start()
		started <- err
		if err == nil {
			_ = h.qemu.Wait()
		}
		close(h.exited)
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	port, err := h.port(monitor)
	if err == nil {
		err = h.configure(port)
	}
	if err != nil {
		text, _ := os.ReadFile(said.Name())
		h.Close()
		return nil, fmt.Errorf("qemu: %w: %s", err, text)
	}
	return h, nil
}

var forward = regexp.MustCompile(`TCP\[HOST_FORWARD\] +\d+ +127\.0\.0\.1 +(\d+) `)

// port asks qemu which port of this machine leads to the host's sshd: the kernel
// chose it, so that no other program can have it.
func (h *Host) port(monitor string) (string, error) {
	var conn net.Conn
	if err := h.until(Patience, func() (err error) {
		conn, err = net.Dial("unix", monitor)
		return err
	}); err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("info usernet\n")); err != nil {
		return "", err
	}
	_ = conn.SetReadDeadline(time.Now().Add(Patience))
	var answer []byte
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		answer = append(answer, buf[:n]...)
		if m := forward.FindSubmatch(answer); m != nil {
			return string(m[1]), nil
		}
		if err != nil {
			return "", fmt.Errorf("ask qemu for the port: %w: %q", err, answer)
		}
	}
}

// wait returns when a boot other than the one named is complete and root can log in.
func (h *Host) wait(before string) error {
	var boot string
	err := h.until(BootPatience, func() error {
		if err := h.banner(); err != nil {
			return err
		}
		r := h.Try("cat /proc/sys/kernel/random/boot_id")
		if boot = strings.TrimSpace(r.Out); r.Status != 0 || boot == before {
			return fmt.Errorf("not booted anew: %+v", r)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("boot: %w\n%s", err, h.Console())
	}
	h.boot = boot
	if r := h.within(BootPatience, "systemctl is-system-running --wait || { systemctl --failed --no-pager; exit 1; }"); r.Status != 0 {
		return fmt.Errorf("systemd has started, and something failed: %+v\n%s", r, h.Console())
	}
	return nil
}

// until tries what must come true, for as long as qemu lives.
func (h *Host) until(within time.Duration, try func() error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-h.exited:
			return fmt.Errorf("qemu has ended: %w", err)
		case <-end:
			return fmt.Errorf("not within %v: %w", within, err)
		}
	}
}

// Restart reboots the host and waits until it is back.
func (h *Host) Restart(t testing.TB) {
	t.Helper()
	h.Try("systemctl reboot")
	h.hangUp()
	if err := h.wait(h.boot); err != nil {
		t.Fatal(err)
	}
}

// powerOff shuts the host down and waits for its end.
func (h *Host) powerOff() error {
	h.Try("systemctl poweroff")
	h.hangUp()
	select {
	case <-h.exited:
		return nil
	case <-time.After(Patience):
		return fmt.Errorf("the host does not power off\n%s", h.Console())
	}
}

// Close takes the power away.
func (h *Host) Close() {
	h.hangUp()
	_ = h.qemu.Process.Kill()
	<-h.exited
	_ = os.RemoveAll(h.dir)
}

// Console is the end of what the host's console has shown.
func (h *Host) Console() string {
	text, err := os.ReadFile(h.path("console"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}

func (h *Host) path(name string) string { return filepath.Join(h.dir, name) }
