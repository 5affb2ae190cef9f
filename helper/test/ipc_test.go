// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"berth/test/labs"

	"golang.org/x/sys/unix"
)

func init() {
	// Takes shared memory, as many MiB as it is told, in pieces that it writes to.
	probes["shm"] = func(args []string) string {
		most, _ := strconv.Atoi(args[0])
		for mib := range most {
			id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1<<20, unix.IPC_CREAT|0o600)
			if err != nil {
				return fmt.Sprintf("%d MiB: %v", mib, err)
			}
			piece, err := unix.SysvShmAttach(id, 0, 0)
			if err != nil {
				return err.Error()
			}
			for i := 0; i < len(piece); i += 4096 {
				piece[i] = 1
			}
			_ = unix.SysvShmDetach(piece)
		}
		return "done"
	}
	// Makes one of each kind that outlives its maker, and says so.
	probes["ipc"] = func([]string) string {
		_, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
		_, _, sem := unix.Syscall(unix.SYS_SEMGET, unix.IPC_PRIVATE, 1, unix.IPC_CREAT|0o600)
		_, _, msg := unix.Syscall(unix.SYS_MSGGET, unix.IPC_PRIVATE, unix.IPC_CREAT|0o600, 0)
		name, _ := unix.BytePtrFromString(fmt.Sprint("left", unix.Getuid()))
		mq, _, queue := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0, 0)
		unix.Close(int(mq))
		return fmt.Sprint("made ", err, sem, msg, queue)
	}
}

// What only its owner can remove is gone after the owner's last session, and other
// people's things are not.
func TestIPCAndFilesAreSwept(t *testing.T) {
	l := labs.New(t, "")
	if err := installProbe(l); err != nil {
		t.Fatal(err)
	}
	logInOnce(t, l, "alice", "bob")
	alice, bobs := l.UID(t, "alice"), l.UID(t, "bob")
	const leave = `cd /tmp; mkdir -m 0777 $USER; echo x >$USER/file; mkdir -p deep-$USER/1/2/3/4/5/6/7/8; echo x >deep-$USER/1/2/3/4/5/6/7/8/file; chmod -R a-rwx deep-$USER/1/2
		ln -s /home/bob link-$USER; mkfifo fifo-$USER; echo x >/dev/shm/$USER; echo x >/var/tmp/$USER; echo x 2>/dev/null >bob/from-$USER; BERTH_PROBE=ipc /home/probe`
	look := func() string {
		out, err := exec.Command("docker", "exec", l.Container(t), "sh", "-c",
			strings.ReplaceAll("ls -lnAR /tmp /var/tmp /dev/shm /dev/mqueue | grep -E UIDS; for k in shm sem msg; do tail -n +2 /proc/sysvipc/$k | grep -oE UIDS | head -n 1; done",
				"UIDS", "' ("+alice+"|"+bobs+") '")).CombinedOutput()
		if err != nil && len(out) > 0 {
			t.Logf("look: %v", err)
		}
		return string(out)
	}
	bob := startTyping(t, l, "bob")
	run := func(user string) {
		if r := labs.Finish(l.SSH(user, leave)); r.Out != "made <nil> errno 0 errno 0 errno 0\n" {
			t.Errorf("%s: %+v", user, r)
		}
	}
	run("bob")
	// The attack works: what is not swept stays.
	if left := look(); strings.Count(left, " "+bobs+" ") < 9 {
		t.Errorf("bob has a session open and left:\n%s", left)
	}
	first := labs.Finish(l.SSH("alice", "sleep 0; echo in"))
	if first.Out != "in\n" {
		t.Errorf("%+v", first)
	}
	run("alice")
	labs.Eventually(t, 10*time.Second, func() (bool, string) {
		left := look()
		return !strings.Contains(left, alice), left
	})
	if left := look(); strings.Count(left, " "+bobs+" ") < 9 {
		t.Errorf("of bob's, who has a session open, is left:\n%s", left)
	}
	bob.finish(t)
	_ = bob.cmd.Process.Kill()
	labs.Eventually(t, 10*time.Second, func() (bool, string) { left := look(); return left == "", left })
	if out := l.Exec(t, "ls", "-A", "/home/bob"); !strings.Contains(out, ".ssh") {
		t.Errorf("bob's home was followed into: %s", out)
	}
}
