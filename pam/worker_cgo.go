// SPDX-License-Identifier: Apache-2.0

// pam_berth.so is a PAM session module that makes homes. It is one file with
// two lives: loaded by libpam only its C part runs (face.c, work.c); executed by
// that part it is a Go program, the worker, which does the work and ends.
package main

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror -fvisibility=hidden
#cgo LDFLAGS: -lpam -ldl
#include "berth.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"berth/pam/internal/at"
	"berth/pam/internal/home"
	"berth/pam/internal/names"
	"berth/pam/internal/script"
)

// The result descriptor and the answer's marks are described in berth.h.
const resultFD = C.RESULT_FD

// PAM return codes that the worker uses (security/_pam_types.h).
const (
	pamSuccess    = 0
	pamPermDenied = 6
	pamSessionErr = 14
)

//export berthWorker
func berthWorker() C.int {
	// Not for the site's script: it ends, and the caller reads on.
	syscall.CloseOnExec(resultFD)
	out := os.NewFile(resultFD, "result")
	say := func(mark byte, text string) { fmt.Fprintf(out, "%c%s\n", mark, printable(text)) }
	code := work(os.Args, say)
	say('R', fmt.Sprint(code))
	return 0
}

// work does its task and returns a PAM code.
func work(argv []string, say func(byte, string)) int {
	task, args, err := parseArguments(argv)
	if err == nil {
		err = at.CheckKernel()
	}
	code := pamSessionErr
	switch {
	case err != nil:
	case task == taskExec:
		code, err = runScript(execRequest, args, say)
	case task == taskPrepare:
		code, err = runScript(prepareRequest, args, say)
	case task == taskNames:
		code, err = recordNames(args)
	default:
		code, err = openHome(args, say)
	}
	switch {
	case errors.Is(err, syscall.ENOSYS):
		say('E', err.Error()+" (berth needs Linux 5.11 or newer)")
	case err != nil:
		say('E', err.Error())
	}
	return code
}

func openHome(args arguments, say func(byte, string)) (int, error) {
	warn := func(text string) { say('W', text) }
	request, err := homeRequest(args, func(text string) { say('E', text) })
	if err != nil {
		return pamSessionErr, err
	}
	if request.Label, err = labeler(warn); err != nil {
		return pamPermDenied, err
	}
	made, err := home.Open(request, warn)
	if err != nil {
		say('U', explain(request.Path, err))
		return pamPermDenied, err
	}
	if made {
		say('U', "Creating directory '"+request.Path+"'.")
		say('I', "made "+request.Path+" for "+request.User)
	}
	return pamSuccess, nil
}

// explain is an error in the user's words.
func explain(path string, err error) string {
	if denied := (*home.DeniedError)(nil); errors.As(err, &denied) {
		return "Your home directory " + denied.Error() + "; please tell the administrator."
	}
	why := "please tell the administrator."
	for errno, text := range map[syscall.Errno]string{
		syscall.ENOSPC: "the disk is full; ", syscall.EDQUOT: "the disk quota is used up; ", syscall.EROFS: "its file system is read-only; ",
	} {
		if errors.Is(err, errno) {
			why = text + why
		}
	}
	return "Unable to create and initialize directory '" + path + "': " + why
}

func runScript(request func(arguments) (script.Call, error), args arguments, say func(byte, string)) (int, error) {
	call, err := request(args)
	if err == nil {
		err = script.Run(call, func(text string) { say('I', text) })
	}
	if err != nil {
		return pamSessionErr, err
	}
	return pamSuccess, nil
}

func recordNames(args arguments) (int, error) {
	record, err := namesRecord(args)
	if err == nil {
		err = names.Write(C.NAMES, record)
	}
	if err != nil {
		return pamSessionErr, fmt.Errorf("the container will not know the user's names: %w", err)
	}
	return pamSuccess, nil
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
