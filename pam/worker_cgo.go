// SPDX-License-Identifier: Apache-2.0

// pam_berth.so is a PAM session module that makes homes. It is one file with
// two lives: loaded by libpam only its C part runs (face.c, work.c); executed by
// that part it is a Go program, the worker, which does the work and ends.
package main

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror -fvisibility=hidden
#cgo LDFLAGS: -lpam
*/
import "C"

import (
	"fmt"
	"os"

	"berth/pam/internal/home"
)

// The result descriptor and the answer's marks are described in berth.h.
const resultFD = 3

// PAM return codes that the worker uses (security/_pam_types.h).
const (
	pamSuccess    = 0
	pamPermDenied = 6
	pamSessionErr = 14
)

//export berthWorker
func berthWorker() C.int {
	out := os.NewFile(resultFD, "result")
	say := func(mark byte, text string) { fmt.Fprintf(out, "%c%s\n", mark, printable(text)) }
	code := work(os.Args, say)
	say('R', fmt.Sprint(code))
	return 0
}

// work does what the arguments say and returns a PAM code.
func work(args []string, say func(byte, string)) int {
	request, err := parse(args)
	if err != nil {
		say('E', err.Error())
		return pamSessionErr
	}
	made, err := home.Open(request, func(text string) { say('W', text) })
	if made {
		say('U', "Creating directory '"+request.Path+"'.")
		say('D', "made "+request.Path+" for "+request.User)
	}
	if err != nil {
		say('E', err.Error())
		say('U', "Your home directory could not be prepared; please tell the administrator.")
		return pamPermDenied
	}
	return pamSuccess
}

// printable keeps a message in one line of the log.
func printable(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

func main() {}
