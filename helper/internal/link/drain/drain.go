// SPDX-License-Identifier: Apache-2.0

// Package drain is whether sessions may be opened: not while the file is there that
// `berth drain` makes.
package drain

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/rootfile"
)

// DefaultWords are for users where the administrator has none.
const DefaultWords = "this gateway takes no new sessions now; try again later"

// maxWords is how many bytes of the file's first line a user reads.
const maxWords = 200

var errDrained = errors.New("no new sessions are taken (berth drain)")

// Check returns why no session may be opened, a *loginerror.Refusal, or nil. A file that is
// not root's alone has no words, and is obeyed.
func Check(path string) error {
	text, err := rootfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return loginerror.Deny(DefaultWords, fmt.Errorf("%w; %s: %w", errDrained, path, err))
	}
	return loginerror.Deny(words(string(text)), errDrained)
}

func words(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	line = strings.ToValidUTF8(line[:min(len(line), maxWords)], "")
	line = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return -1
		}
		return r
	}, line))
	if line == "" {
		return DefaultWords
	}
	return line
}
