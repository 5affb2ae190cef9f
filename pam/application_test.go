// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/msteinert/pam/v2"
)

// applicationName has the test program be a PAM application: in Go, with the threads
// that its runtime has. testdata/host.c is the other one, for tests that count
// threads, children, signals and descriptors, or that follow system calls.
const applicationName = "pam-application"

// application opens and closes a session, and says what each came to, with libpam's
// numbers, and what the user is told.
//
// pam-application CONFDIR SERVICE USER [silent]
func application(args []string) int {
	var flags pam.Flags
	if slices.Contains(args[3:], "silent") {
		flags = pam.Silent
	}
	told := func(_ pam.Style, message string) (string, error) {
		fmt.Println("says", message)
		return "", nil
	}
	t, err := pam.StartConfDir(args[1], args[2], pam.ConversationFunc(told), args[0])
	if err == nil && args[2] == "" { // for the package that is no user at all
		err = t.SetItem(pam.User, "")
	}
	if err != nil {
		fmt.Println("start", status(err))
		return 1
	}
	opened, closed := t.OpenSession(flags), t.CloseSession(flags)
	fmt.Printf("open %d close %d\n", status(opened), status(closed))
	if err := errors.Join(opened, closed, t.End()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// status is libpam's number for an answer.
func status(err error) int {
	var number pam.Error
	if err != nil && !errors.As(err, &number) {
		return -1
	}
	return int(number)
}
