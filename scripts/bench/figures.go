// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What is looked at while sessions are open; the order is the table's.
const (
	inContainer = iota
	threadsInside
	pidsCurrent
	helpers
	helperThreads
	ofOneUser
	pssWatchers
	pssShells
	pssHelpers
	pssKeeper
	pssServers
	memoryInside
	loginBerth
	loginPlain
	loginRatio
	figureCount
)

type figures [figureCount]float64

var figureNames = names{
	inContainer: "processes in the container", threadsInside: "threads in the container", pidsCurrent: "pids.current, of 16384",
	helpers: "berth-session on the host", helperThreads: "threads of each", ofOneUser: "threads of one user (RLIMIT_NPROC), of 2048",
	pssWatchers: "PSS of a supervisor, KiB", pssShells: "PSS of a shell inside, KiB", pssHelpers: "PSS of a berth-session, KiB",
	pssKeeper: "PSS of the keeper, KiB", pssServers: "PSS of servers, spawner and spares, KiB", memoryInside: "memory of the container, MiB",
	loginBerth: "login, ssh host true, ms", loginPlain: "the same, plain sshd, ms", loginRatio: "ratio",
}

type names [figureCount]string

// measure takes all figures now.
func (h *house) measure(samples int) (figures, error) {
	var f figures
	v, err := measureInterleaved([]column{h.column("admin"), h.column("alice")}, samples, commandTime)
	if err != nil {
		return f, err
	}
	f[loginPlain], f[loginBerth], f[loginRatio] = v[0], v[1], v[1]/v[0]
	if f[pidsCurrent], err = h.cgroup("pids", "pids.current"); err != nil {
		return f, err
	}
	if f[memoryInside], err = h.cgroup("memory", "memory.usage_in_bytes", "memory.current"); err != nil {
		return f, err
	}
	f[memoryInside] /= mib
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return f, err
	}
	here := &bench{lab: h.lab.Dir}
	var watchers, shells float64
	for _, p := range processes {
		threads, uid := tasks(p)
		if uid == h.first {
			f[ofOneUser] += threads
		}
		if threads == 0 || !here.isOfLab(p) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		program, _, _ := bytes.Cut(args, []byte{0})
		name := filepath.Base(string(program))
		inside := h.isInContainer(p)
		if inside {
			f[inContainer]++
			f[threadsInside] += threads
		}
		switch size := pss(p); {
		case name == "berth-session":
			f[helpers]++
			f[helperThreads] += threads
			f[pssHelpers] += size
		case !inside:
		case bytes.Contains(args, []byte("berth-init\x00watch\x00")):
			watchers++
			f[pssWatchers] += size
		case filepath.Base(p) == strconv.Itoa(h.keeper):
			f[pssKeeper] = size
		case strings.HasPrefix(name, "berth-"):
			f[pssServers] += size
		case name == "-bash", name == "bash":
			shells++
			f[pssShells] += size
		}
	}
	f[pssWatchers] /= watchers
	f[pssShells] /= shells
	f[pssHelpers] /= f[helpers]
	f[helperThreads] /= f[helpers]
	return f, nil
}

// tasks returns how many threads a process has, and its user.
func tasks(process string) (threads float64, uid int) {
	status, err := os.ReadFile(filepath.Join(process, "status"))
	if err != nil {
		return 0, -1 // it has ended
	}
	for line := range strings.Lines(string(status)) {
		switch f := strings.Fields(line); {
		case len(f) > 1 && f[0] == "Threads:":
			threads, _ = strconv.ParseFloat(f[1], 64)
		case len(f) > 1 && f[0] == "Uid:":
			uid, _ = strconv.Atoi(f[1])
		}
	}
	return threads, uid
}

// isInContainer reports whether a process is in the container.
func (h *house) isInContainer(process string) bool {
	theirs, err := os.Readlink(filepath.Join(process, "ns", "pid"))
	keepers, kerr := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h.keeper))
	return err == nil && kerr == nil && theirs == keepers
}

// cgroup reads a number of the container's control group, of version 1 or 2.
func (h *house) cgroup(controller string, files ...string) (float64, error) {
	root := fmt.Sprintf("/proc/%d/root/sys/fs/cgroup", h.keeper)
	var text []byte
	err := os.ErrNotExist
	for _, file := range files {
		for _, path := range []string{filepath.Join(root, controller, file), filepath.Join(root, file)} {
			if err != nil {
				text, err = os.ReadFile(path)
			}
		}
	}
	if err != nil {
		return 0, fmt.Errorf("control group: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
}
