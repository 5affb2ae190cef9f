// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"berth/pam/internal/home"
)

// mark is the second argument of a worker (berth.h, WORKER_MARK).
const mark = "berth-worker-1"

// parse reads the worker's arguments. A key that it does not know comes from a
// newer C side and is an error: half of an option must not be obeyed.
func parse(args []string) (home.Request, error) {
	request := home.Request{Skel: "/etc/skel"}
	if len(args) < 2 || args[1] != mark {
		return request, errors.New("this program is run by its PAM module alone")
	}
	seen := map[string]bool{}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		if seen[key] {
			return request, fmt.Errorf("argument %s comes twice", key)
		}
		seen[key] = true
		var err error
		switch key {
		case "user":
			request.User = value
		case "uid":
			request.UID, err = id(value)
		case "gid":
			request.GID, err = id(value)
		case "home":
			request.Path = value
		case "skel":
			request.Skel, request.SkelGiven = filepath.Clean(value), true
		case "umask":
			var mask uint64
			mask, err = strconv.ParseUint(value, 8, 32)
			if err == nil && mask > 0o777 {
				err = strconv.ErrRange
			}
			request.Umask, request.UmaskGiven = uint32(mask), true
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			return request, fmt.Errorf("argument %s: %w", key, err)
		}
	}
	if !seen["user"] || !seen["uid"] || !seen["gid"] || !filepath.IsAbs(request.Path) || filepath.Clean(request.Path) == "/" {
		return request, errors.New("user, uid, gid and an absolute home are required")
	}
	request.Path = filepath.Clean(request.Path)
	return request, nil
}

// id reads a uid or gid that may own a home: not root's, not the one that
// chown(2) takes for "leave it".
func id(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && (n == 0 || n == 1<<32-1) {
		err = strconv.ErrRange
	}
	return int(n), err
}
