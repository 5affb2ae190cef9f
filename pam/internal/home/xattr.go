// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// isCopied reports whether an extended attribute goes along: the user's own and
// access control lists. Security labels are the policy's, capabilities no
// user's, trusted attributes root's (xattr(7)).
func isCopied(name string) bool {
	return strings.HasPrefix(name, "user.") || name == "system.posix_acl_access" || name == "system.posix_acl_default"
}

// attributes copies the attributes that go along.
func (c *copier) attributes(from, to int) error {
	names, err := listAttributes(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !isCopied(name) {
			continue
		}
		value, err := attribute(from, name)
		if err != nil {
			return err
		}
		err = unix.Fsetxattr(to, name, value, 0)
		if errors.Is(err, unix.ENOTSUP) {
			if !c.mute {
				c.mute = true
				c.warn("skeleton: the file system of the homes keeps no " + name)
			}
			continue
		}
		if err != nil {
			return os.NewSyscallError("setxattr "+name, err)
		}
	}
	return nil
}

func listAttributes(fd int) ([]string, error) {
	// The kernel's own limit on a list (xattr(7), XATTR_LIST_MAX).
	buf := make([]byte, 1<<16)
	n, err := unix.Flistxattr(fd, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("listxattr", err)
	}
	return strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }), nil
}

func attribute(fd int, name string) ([]byte, error) {
	n, err := unix.Fgetxattr(fd, name, nil)
	if err != nil {
		return nil, os.NewSyscallError("getxattr "+name, err)
	}
	value := make([]byte, n)
	n, err = unix.Fgetxattr(fd, name, value)
	if err != nil {
		return nil, os.NewSyscallError("getxattr "+name, err)
	}
	return value[:n], nil
}
