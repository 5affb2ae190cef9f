// SPDX-License-Identifier: Apache-2.0

package sessionlog

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"golang.org/x/sys/unix"
)

// key is the fingerprint of the key that a client proved to have, as ssh-keygen -l
// prints it, from the file that sshd's ExposeAuthInfo leaves to the session (each
// line a method; for a key "publickey ssh-ed25519 AAAA...").
func key(path string) string {
	if path == "" || len(path) > 256 {
		return ""
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	buf := make([]byte, 16<<10)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return ""
	}
	return fingerprint(string(buf[:n]))
}

func fingerprint(methods string) string {
	for line := range strings.Lines(methods) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "publickey" {
			continue
		}
		blob, err := base64.StdEncoding.DecodeString(words[2])
		if err != nil {
			continue
		}
		sum := sha256.Sum256(blob)
		return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
	}
	return ""
}
