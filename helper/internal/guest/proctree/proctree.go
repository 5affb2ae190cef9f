// SPDX-License-Identifier: Apache-2.0

// Package proctree knows who is whose child, by /proc. What it says is true of one
// moment: who ends processes by it repeats until none is left.
package proctree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Proc is the process file system.
func Proc() fs.FS { return os.DirFS("/proc") }

// process is a line of /proc.
type process struct {
	pid, parent int
	state       byte
}

// Descendants returns all processes below the roots that have not ended,
// parents before children.
func Descendants(proc fs.FS, roots ...int) []int {
	children := map[int][]process{}
	for _, p := range all(proc) {
		children[p.parent] = append(children[p.parent], p)
	}
	var found []int
	for next := slices.Clone(roots); len(next) > 0; next = next[1:] {
		for _, child := range children[next[0]] {
			next = append(next, child.pid)
			if child.state != 'Z' {
				found = append(found, child.pid)
			}
		}
	}
	return found
}

// Children returns the processes whose parent is pid, those included that have
// ended and not been waited for.
func Children(proc fs.FS, pid int) []int {
	var found []int
	for _, p := range all(proc) {
		if p.parent == pid {
			found = append(found, p.pid)
		}
	}
	return found
}

// Birth is when pid was started, in clock ticks since boot: with it a number
// means one process, whenever it is looked at. It fails for one that has ended.
func Birth(proc fs.FS, pid int) (uint64, error) {
	fields, err := fieldsOf(proc, strconv.Itoa(pid))
	if err != nil || len(fields) < 20 || fields[0] == "Z" {
		return 0, fmt.Errorf("/proc/%d/stat: %w", pid, errors.Join(err, fs.ErrInvalid))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Signal sends signals to every one of pids.
func Signal(pids []int, signals ...unix.Signal) {
	for _, pid := range pids {
		for _, signal := range signals {
			_ = unix.Kill(pid, signal)
		}
	}
}

func all(proc fs.FS) []process {
	var found []process
	entries, _ := fs.ReadDir(proc, ".")
	for _, entry := range entries {
		if name := entry.Name(); name[0] >= '1' && name[0] <= '9' {
			if p, err := stat(proc, name); err == nil {
				found = append(found, p)
			}
		}
	}
	return found
}

// fieldsOf returns the fields of /proc/PID/stat from the third on (proc(5)); the
// second is a name in parentheses that may hold anything.
func fieldsOf(proc fs.FS, name string) ([]string, error) {
	text, err := fs.ReadFile(proc, name+"/stat")
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])), nil
}

func stat(proc fs.FS, name string) (process, error) {
	fields, err := fieldsOf(proc, name)
	if err != nil {
		return process{}, err
	}
	pid, err := strconv.Atoi(name)
	if err != nil || len(fields) < 2 {
		return process{}, fmt.Errorf("/proc/%s/stat: malformed", name)
	}
	parent, err := strconv.Atoi(fields[1])
	return process{pid, parent, fields[0][0]}, err
}
