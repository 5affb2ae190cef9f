// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Container is the image that users work in; the hosts have it before a test begins.
const Container = "berth:latest"

// Image is a Debian host on disk. Any number of hosts boot from one: each writes
// into a file of its own.
type Image struct {
	Dir  string // what hosts/build made
	Disk string // the disk, with Container loaded into the host's engine
}

// Top is the top directory of the source tree.
func Top() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(here)))
}

// Prepare makes the image of a Debian release, or finds the one that an earlier
// run left in the cache. The first time takes minutes.
func Prepare(release string) (*Image, error) {
	dir, err := output(exec.Command(filepath.Join(Top(), "test", "hosts", "build"), release))
	if err != nil {
		return nil, err
	}
	id, err := output(exec.Command("docker", "image", "inspect", "-f", "{{.Id}}", Container))
	if err != nil {
		return nil, fmt.Errorf("%w (make image makes it)", err)
	}
	_, id, _ = strings.Cut(id, ":")
	image := &Image{Dir: dir, Disk: filepath.Join(dir, "loaded-"+id[:12])}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Lstat(image.Disk); err == nil {
		return image, nil
	}
	return image, image.load()
}

// load boots the host for the first time, has its engine load Container from a
// second disk, and keeps the disk as it is then. That is the slowest part of a
// run, and the same in each.
func (i *Image) load() error {
	old, err := filepath.Glob(filepath.Join(i.Dir, "load*"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	saved, disk := filepath.Join(i.Dir, "load.tar"), filepath.Join(i.Dir, "load.new")
	defer os.Remove(saved)
	if _, err := output(exec.Command("docker", "save", "-o", saved, Container)); err != nil {
		return err
	}
	if err := overlay(disk, filepath.Join(i.Dir, "disk"), "raw"); err != nil {
		return err
	}
	h, err := start(i.Dir, disk, "-drive", "if=virtio,format=raw,readonly=on,file="+saved)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.wait(""); err != nil {
		return err
	}
	if r := h.within(3*BootPatience, "docker load </dev/vdb"); r.Status != 0 {
		return fmt.Errorf("docker load: %+v", r)
	}
	if err := h.powerOff(); err != nil {
		return err
	}
	return os.Rename(disk, i.Disk)
}

// overlay makes a disk that reads from base what was not written to it.
func overlay(disk, base, format string) error {
	_, err := output(exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, disk))
	return err
}

// output runs a command of this machine's and returns what it prints.
func output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
