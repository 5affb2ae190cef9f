// SPDX-License-Identifier: Apache-2.0

// Package proctree knows who is whose child, by /proc. What it says is true of one
// moment: who ends processes by it repeats until none is left.
package proctree

import (
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

// Children returns this process's own children, ended ones included. It sees those, too, that /proc
// hides because their user may not trace them, such as ssh-agent (hidepid, proc(5)).
func Children(proc fs.FS) []int {
	var found []int
	lists, _ := fs.Glob(proc, "self/task/*/children") // only a pattern of its own can be wrong
	for _, list := range lists {
		text, _ := fs.ReadFile(proc, list)
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
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

// stat reads /proc/PID/stat (proc(5)). The second field is a name in parentheses that
// may hold anything; state and parent stand behind it.
func stat(proc fs.FS, name string) (process, error) {
	text, err := fs.ReadFile(proc, name+"/stat")
	if err != nil {
		return process{}, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	pid, err := strconv.Atoi(name)
	if err != nil || len(fields) < 2 {
		return process{}, fmt.Errorf("/proc/%s/stat: malformed", name)
	}
	parent, err := strconv.Atoi(fields[1])
	return process{pid, parent, fields[0][0]}, err
}
