// SPDX-License-Identifier: Apache-2.0

package home

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openDir opens the directory name in dir, following nothing.
func openDir(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// list returns the names in a directory.
func list(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	file := os.NewFile(uintptr(fd), "directory")
	defer file.Close()
	return file.Readdirnames(-1)
}

// removeAll removes name in dir and all below it, following nothing.
func removeAll(dir int, name string) error {
	if err := unix.Unlinkat(dir, name, 0); err == nil || !errors.Is(err, unix.EISDIR) {
		return err
	}
	fd, err := openDir(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	names, err := list(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAll(fd, n); err != nil {
			return err
		}
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// mostLinks is where a chain of symbolic links is given up (path_resolution(7)).
const mostLinks = 40

// openParent opens the directory at an absolute path in which a home is to be
// made, and makes what is missing, root's and 0755. Each directory on the way
// must be root's and no one else's to write, so that nobody can exchange the
// next; symbolic links in such directories are the administrator's.
func openParent(path string) (int, error) {
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("open /", err)
	}
	todo := strings.Split(path, "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		next, target, err := step(dir, name)
		unix.Close(dir)
		if err != nil {
			return -1, fmt.Errorf("%s (in %s): %w", name, path, err)
		}
		dir = next
		if target == "" {
			continue
		}
		if links++; links > mostLinks {
			unix.Close(dir)
			return -1, fmt.Errorf("%s: %w", path, unix.ELOOP)
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return dir, safe(dir, path)
}

// step opens name in dir, or makes it. For a symbolic link it returns where to
// go on, and the link's target.
func step(dir int, name string) (next int, target string, err error) {
	if err := safe(dir, "directory above"); err != nil {
		return -1, "", err
	}
	fd, err := openDir(dir, name)
	if errors.Is(err, unix.ENOENT) {
		if err := unix.Mkdirat(dir, name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return -1, "", os.NewSyscallError("mkdir", err)
		}
		if fd, err = openDir(dir, name); err == nil {
			err = unix.Fchmod(fd, 0o755) // whatever the umask says
		}
	}
	if err == nil {
		return fd, "", nil
	}
	buf := make([]byte, unix.PathMax)
	n, lerr := unix.Readlinkat(dir, name, buf)
	if lerr != nil || n == 0 {
		return -1, "", err
	}
	target = string(buf[:n])
	from := "."
	if strings.HasPrefix(target, "/") {
		from = "/"
	}
	fd, err = unix.Openat(dir, from, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, target, err
}

// safe fails unless the directory is root's and no one else may write it.
func safe(dir int, what string) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s: others than root may write it; no home is made there", what)
	}
	return nil
}
