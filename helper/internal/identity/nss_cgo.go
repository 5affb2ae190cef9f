// SPDX-License-Identifier: Apache-2.0

package identity

// os/user knows no shell, and we want one buffer rule for both calls; so the
// two reentrant calls of getpwnam(3) and getgrnam(3) are made here.

/*
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>
*/
import "C"

import (
	"fmt"
	"syscall"
	"unsafe"
)

// A directory server may send long entries; past this it sends nonsense.
const maxEntry = 1 << 20

func grow(call func(buf *C.char, size C.size_t) C.int) syscall.Errno {
	for size := C.size_t(4096); ; size *= 4 {
		buf := (*C.char)(C.malloc(size))
		errno := syscall.Errno(call(buf, size))
		C.free(unsafe.Pointer(buf))
		if errno == syscall.EINTR {
			size /= 4
			continue
		}
		if errno != syscall.ERANGE || size >= maxEntry {
			return errno
		}
	}
}

func lookup(uid uint32) (Account, error) {
	account := Account{UID: uid}
	found := false
	errno := grow(func(buf *C.char, size C.size_t) C.int {
		var entry C.struct_passwd
		var result *C.struct_passwd
		rc := C.getpwuid_r(C.uid_t(uid), &entry, buf, size, &result)
		if rc == 0 && result != nil {
			found = true
			account.Name = C.GoString(entry.pw_name)
			account.Gecos = C.GoString(entry.pw_gecos)
			account.Home = C.GoString(entry.pw_dir)
			account.Shell = C.GoString(entry.pw_shell)
		}
		return rc
	})
	if found {
		return account, nil
	}
	if errno != 0 {
		return account, fmt.Errorf("getpwuid %d: %w: %w", uid, ErrUnknown, errno)
	}
	return account, fmt.Errorf("getpwuid %d: %w", uid, ErrUnknown)
}

// groupName returns "" for a group without a name: it has its number then, in
// the container as on the host.
func groupName(gid uint32) string {
	name := ""
	grow(func(buf *C.char, size C.size_t) C.int {
		var entry C.struct_group
		var result *C.struct_group
		rc := C.getgrgid_r(C.gid_t(gid), &entry, buf, size, &result)
		if rc == 0 && result != nil {
			name = C.GoString(entry.gr_name)
		}
		return rc
	})
	return name
}
