// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strconv"
	"unsafe"

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
