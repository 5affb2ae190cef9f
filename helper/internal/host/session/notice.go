// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"berth/helper/internal/link/lifeline"
)

// notices are an administrator's words for the session's terminal. Without a terminal there
// are none: the output is a program's.
type notices struct{ lines chan string }

// newNotices shows them on a terminal that is raw. It may be stopped: the session's end does
// not wait for it, and what comes meanwhile is not shown.
func newNotices(terminal io.Writer) *notices {
	n := &notices{make(chan string, 1)}
	go func() {
		for line := range n.lines {
			fmt.Fprintf(terminal, "\r\nberth: %s\r\n", line)
		}
	}()
	return n
}

// maxNotice is how many bytes of one are shown.
const maxNotice = 200

// show takes the body of a frame, whose sender may be the container's.
func (n *notices) show(body []byte) {
	text, err := lifeline.UnpackNotice(body)
	if n == nil || err != nil {
		return
	}
	select {
	case n.lines <- printable(text[:min(len(text), maxNotice)]):
	default:
	}
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
