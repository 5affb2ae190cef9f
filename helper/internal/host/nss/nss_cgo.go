// SPDX-License-Identifier: Apache-2.0

// Package nss asks the name service of the C library (files, LDAP, SSSD,
// systemd-userdb). os/user knows no shell, and we want one buffer rule for both
// calls; so the two reentrant calls of getpwnam(3) and getgrnam(3) are made here.
package nss

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

	"berth/helper/internal/host/identity"
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

// Directory is the C library's.
type Directory struct{}

// Account looks up uid.
func (Directory) Account(uid uint32) (identity.Account, error) {
	account := identity.Account{UID: uid}
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
		return account, identity.Unknown(uid, fmt.Errorf("getpwuid: %w", errno))
	}
	return account, fmt.Errorf("getpwuid %d: %w", uid, identity.ErrUnknown)
}

// GroupName returns "" for a group without a name.
func (Directory) GroupName(gid uint32) string {
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
