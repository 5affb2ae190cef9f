// SPDX-License-Identifier: Apache-2.0

package at

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is where a chain of symbolic links is given up (path_resolution(7)).
const maxLinks = 40

// Walk opens the directory at an absolute path, as a path only (O_PATH), which
// asks for no right to read it: root has none on an NFS export that squashes
// it. Each directory on the way, the last one included, must be root's or the
// user uid's (0 for root's alone) and no one else's to write, so that nobody
// can exchange the next. Symbolic links in root's directories are the
// administrator's; in the user's none is followed. With create, what is missing
// is made: root's and 0755, or the user's own, who the process then is.
func Walk(path string, uid int, create bool) (int, error) {
	dir, err := Reach(path, uid, create)
	if err != nil {
		return -1, err
	}
	if _, err := Safe(dir, uid, path); err != nil {
		unix.Close(dir)
		return -1, err
	}
	return dir, nil
}

// Reach is Walk, but that the last directory may be anybody's.
func Reach(path string, uid int, create bool) (int, error) {
	dir, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("open /", err)
	}
	todo := strings.Split(path, "/")
	at := ""
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		owner, err := Safe(dir, uid, at+"/")
		if err != nil {
			unix.Close(dir)
			return -1, err
		}
		next, target, err := step(dir, name, owner == 0, create)
		unix.Close(dir)
		if err != nil {
			return -1, fmt.Errorf("%s/%s: %w", at, name, err)
		}
		dir = next
		if target == "" {
			at = filepath.Join(at+"/", name)
			continue
		}
		if links++; links > maxLinks {
			unix.Close(dir)
			return -1, fmt.Errorf("%s: %w", path, unix.ELOOP)
		}
		if filepath.IsAbs(target) {
			at = ""
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return dir, nil
}

// step opens name in dir, which is root's or else the user's. For a symbolic
// link it returns where to go on, and the link's target.
func step(dir int, name string, roots, create bool) (next int, target string, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	// Not openat2: a target may hold .., which leads up from a safe directory to
	// one that is looked at, too.
	fd, err := unix.Openat(dir, name, flags, 0)
	if errors.Is(err, unix.ENOENT) && create {
		if fd, err = mkdir(dir, name, roots); err != nil {
			return -1, "", err
		}
	}
	if err == nil || !roots {
		return fd, "", err
	}
	buf := make([]byte, unix.PathMax)
	n, lerr := unix.Readlinkat(dir, name, buf)
	if lerr != nil || n == 0 {
		return -1, "", err
	}
	target = string(buf[:n])
	from := "."
	if filepath.IsAbs(target) {
		from = "/"
	}
	fd, err = unix.Openat(dir, from, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, target, err
}

// mkdir makes and opens a directory: in one of root's 0755, whatever the umask
// says, at once, because nobody would mend what a maker that is killed here
// leaves, and again, because an inherited access control list may have its say
// in the first; in the user's as the umask says, because what is opened then may
// be another that she put there.
func mkdir(dir int, name string, roots bool) (int, error) {
	mode := uint32(0o700)
	if roots {
		mode = 0o755
		defer unix.Umask(unix.Umask(0o022))
	}
	err := unix.Mkdirat(dir, name, mode)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, os.NewSyscallError("mkdir", err)
	}
	made := err == nil
	fd, err := OpenDir(dir, name)
	if err != nil || !made || !roots { // not made: another login was quicker
		return fd, err
	}
	if err := unix.Fchmod(fd, 0o755); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fchmod", err)
	}
	return fd, nil
}

// OpenOwned opens the regular file at an absolute path for reading. The file and
// every directory above it must be safe. It returns os.ErrNotExist where the
// file or a directory above it is missing.
func OpenOwned(path string) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%s: not an absolute path", path)
	}
	for range maxLinks {
		path = filepath.Clean(path)
		dir, err := Walk(filepath.Dir(path), 0, false)
		if err != nil {
			return nil, err
		}
		fd, err := Open(dir, filepath.Base(path), unix.O_RDONLY|unix.O_NONBLOCK, 0, true)
		if errors.Is(err, unix.ELOOP) {
			// The link lies in a directory of root's.
			buf := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(dir, filepath.Base(path), buf)
			unix.Close(dir)
			if err != nil {
				return nil, &os.PathError{Op: "readlink", Path: path, Err: err}
			}
			if target := string(buf[:n]); filepath.IsAbs(target) {
				path = target
			} else {
				path = filepath.Join(filepath.Dir(path), target)
			}
			continue
		}
		unix.Close(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return checkOwner(fd, path)
	}
	return nil, fmt.Errorf("%s: %w", path, unix.ELOOP)
}

func checkOwner(fd int, path string) (*os.File, error) {
	file := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err == nil {
		_, err = Safe(fd, 0, path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
