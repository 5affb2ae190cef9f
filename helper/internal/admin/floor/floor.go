// SPDX-License-Identifier: Apache-2.0

// Package floor says whether a host is one that berth is made for: the oldest kernel,
// OpenSSH, Linux-PAM and engine that it works with.
//
// Process: berth. As: root.
package floor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The oldest that berth is made for; README.md names them. The engine's is in
// package engine, and that of the C in the headers (pam/berth.h).
const (
	minLinuxMajor, minLinuxMinor     = 5, 11 // close_range(2) with CLOSE_RANGE_CLOEXEC
	minOpenSSHMajor, minOpenSSHMinor = 9, 2
	// A version of a symbol that Linux-PAM 1.5.0 brought.
	pamSymbol = "LIBPAM_MODUTIL_1.4.1"
)

// Engine is one that says whether it is too old.
type Engine interface {
	CheckVersion(ctx context.Context) (problem string, err error)
}

// Check fails where this host or its engine is too old: nothing is begun there.
func Check(ctx context.Context, e Engine) error {
	problems := checkHost()
	problem, err := e.CheckVersion(ctx)
	if err != nil {
		return err
	}
	if problem != "" {
		problems = append(problems, problem)
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// checkHost returns a line for each part of this host that is too old.
func checkHost() (problems []string) {
	add := func(problem string) {
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		add(checkKernel(unix.ByteSliceToString(uts.Release[:])))
	}
	// A container's or a sandbox's kernel may lack what its number promises.
	for _, call := range []struct {
		name string
		try  func() error
	}{
		{"close_range", func() error { return unix.CloseRange(1<<31-1, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) }},
		{"openat2", func() error {
			fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}},
		{"pidfd_open", func() error {
			fd, err := unix.PidfdOpen(os.Getpid(), 0)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}},
	} {
		if err := call.try(); err != nil {
			add(fmt.Sprintf("%s(2) does not work here: %v; berth needs Linux %d.%d or newer", call.name, err, minLinuxMajor, minLinuxMinor))
		}
	}
	if sshd, err := exec.LookPath("sshd"); err == nil || exists("/usr/sbin/sshd") {
		if err != nil {
			sshd = "/usr/sbin/sshd"
		}
		// Before 9.3 an unknown option, whose complaint begins with the version.
		output, _ := exec.Command(sshd, "-V").CombinedOutput()
		add(checkSSHD(string(output)))
	}
	for _, pattern := range []string{"/lib/*/libpam.so.0", "/usr/lib/*/libpam.so.0", "/lib64/libpam.so.0", "/usr/lib64/libpam.so.0",
		"/lib/libpam.so.0"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			library, err := os.ReadFile(found[0])
			if err == nil && !bytes.Contains(library, []byte(pamSymbol)) {
				add(found[0] + " is of a Linux-PAM that is too old; berth needs 1.5 or newer")
			}
			break
		}
	}
	return problems
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

func checkKernel(release string) string {
	if major, minor, ok := parseVersion(release, `^(\d+)\.(\d+)`); ok && isOlder(major, minor, minLinuxMajor, minLinuxMinor) {
		return fmt.Sprintf("the kernel is Linux %s; berth needs %d.%d or newer", release, minLinuxMajor, minLinuxMinor)
	}
	return ""
}

func checkSSHD(output string) string {
	if major, minor, ok := parseVersion(output, `OpenSSH_(\d+)\.(\d+)`); ok && isOlder(major, minor, minOpenSSHMajor, minOpenSSHMinor) {
		return fmt.Sprintf("sshd is OpenSSH %d.%d; berth needs %d.%d or newer", major, minor, minOpenSSHMajor, minOpenSSHMinor)
	}
	return ""
}

func isOlder(major, minor, minMajor, minMinor int) bool {
	return major < minMajor || major == minMajor && minor < minMinor
}

func parseVersion(text, pattern string) (major, minor int, ok bool) {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return 0, 0, false
	}
	major, err := strconv.Atoi(found[1])
	if err == nil {
		minor, err = strconv.Atoi(found[2])
	}
	return major, minor, err == nil
}
