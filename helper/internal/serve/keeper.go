// SPDX-License-Identifier: Apache-2.0

// Process: berth-enter serve. As: container root.

package serve

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/helper/internal/place"
	"berth/helper/internal/rules"
	"berth/helper/internal/tree"

	"golang.org/x/sys/unix"
)

// keeper is the container's main process.
type keeper struct {
	listener int
	server   int          // pid; 0: none runs
	known    map[int]bool // supervisors
	reports  chan string  // what the server says; closed with its end
	enders   map[int]int  // what clears up, by its pid: the user it does it for
	signals  chan os.Signal
	started  time.Time
	restart  <-chan time.Time
	sweep    <-chan time.Time
}

func newKeeper(listener int) *keeper {
	return &keeper{listener: listener, known: map[int]bool{}, enders: map[int]int{}}
}

// restartPause is between two starts of a server that dies at once.
const restartPause = 200 * time.Millisecond

// sweepPause is between two looks at a dead supervisor's processes, stuckPause
// where their owner keeps them from being ended.
const (
	sweepPause = 200 * time.Millisecond
	stuckPause = 5 * time.Second
)

// Keep serves until it is told to end (SIGTERM). With SIGHUP it becomes the
// program that is now installed, and starts a new server with the rules of now;
// the sessions do not notice.
func Keep() error {
	// The socket's directory is mounted below this one.
	if err := os.Chmod(place.Private, 0o700); err != nil {
		return err
	}
	fd, err := listen(place.Serve)
	if err != nil {
		return err
	}
	return newKeeper(fd).run()
}

// Resume is Keep in a program that has replaced another by SIGHUP: state is what
// that wrote.
func Resume(state string) error {
	k := newKeeper(-1)
	for i, word := range strings.Split(state, ",") {
		n, err := strconv.Atoi(word)
		switch {
		case err != nil:
			return fmt.Errorf("state: %w", err)
		case i == 0:
			k.listener = n
		default:
			k.known[n] = true
		}
	}
	unix.CloseOnExec(k.listener)
	k.prune()
	return k.run()
}

func (k *keeper) run() error {
	debug.SetGCPercent(thrifty)
	// What a dead server or supervisor leaves becomes our child, not init's.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("subreaper: %w", err)
	}
	k.signals = make(chan os.Signal, 8)
	signal.Notify(k.signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	k.serve()
	for {
		select {
		case sig := <-k.signals:
			if sig != unix.SIGHUP {
				return nil // and the container ends
			}
			if err := k.replace(); err != nil {
				logf("the new program does not start: %v", err)
			}
		case line, more := <-k.reports:
			if !more {
				k.reports = nil
				continue
			}
			k.hear(line)
		case <-died:
			k.reap()
		case <-k.restart:
			k.restart = nil
			k.serve()
		case <-k.sweep:
			k.sweep = nil
			k.clear()
		}
	}
}

// serve starts a server.
func (k *keeper) serve() {
	k.started = time.Now()
	k.restart = time.After(restartPause) // if this fails
	r, err := rules.Load(filepath.Join(place.Names, rules.File))
	if err != nil {
		logf("nobody is served: %v; run `berth up`", err)
		k.restart = time.After(10 * restartPause)
		return
	}
	read, write, err := os.Pipe()
	if err != nil {
		logf("pipe: %v", err)
		return
	}
	defer write.Close()
	pid, err := spawn(append([]string{"server"}, r.Words()...), []int{-1, -1, 2, k.listener, int(write.Fd())}, nil)
	if err != nil {
		read.Close()
		logf("the server does not start: %v", err)
		return
	}
	k.server, k.restart = pid, nil
	reports := make(chan string, 64)
	k.reports = reports
	go func() {
		defer read.Close()
		defer close(reports)
		for lines := bufio.NewScanner(read); lines.Scan(); {
			reports <- lines.Text()
		}
	}()
}

// hear takes a report of the server's.
func (k *keeper) hear(line string) {
	if len(line) < 2 {
		return
	}
	pid, err := strconv.Atoi(line[1:])
	if err != nil {
		return
	}
	switch line[0] {
	case '+':
		k.known[pid] = true
	case '-', '!':
		delete(k.known, pid)
		if line[0] == '!' {
			k.clear()
		}
	}
}

// hearAll takes what a server that has ended still had to say.
func (k *keeper) hearAll() {
	if k.reports == nil {
		return // heard already
	}
	for line := range k.reports {
		k.hear(line)
	}
	k.reports = nil
}

// reap waits for children that have ended.
func (k *keeper) reap() {
	collect(func(pid int, status unix.WaitStatus) {
		switch {
		case pid == k.server:
			k.lost(status)
		case k.enders[pid] != 0:
			delete(k.enders, pid)
		case k.known[pid]:
			delete(k.known, pid)
			if !status.Exited() {
				k.clear()
			}
		}
	})
}

// lost deals with the server's death: what it had to say is heard to the end,
// its sessions are ours now, and the next one starts.
func (k *keeper) lost(status unix.WaitStatus) {
	logf("the server ended (status %d, signal %d); the sessions go on", status.ExitStatus(), max(0, int(status.Signal())))
	k.server = 0
	k.hearAll()
	k.prune()
	k.clear()
	if time.Since(k.started) < restartPause {
		k.restart = time.After(restartPause)
		return
	}
	k.serve()
}

// prune, with no server running, forgets supervisors that are not our children:
// their numbers may be others' one day.
func (k *keeper) prune() {
	children := tree.Children(tree.Proc(), os.Getpid())
	for pid := range k.known {
		if !slices.Contains(children, pid) {
			delete(k.known, pid)
		}
	}
}

// clear ends what dead supervisors left. A child that is neither the server nor
// a supervisor came to us when its parents died.
func (k *keeper) clear() {
	left := map[int][]string{} // uid: pids
	for _, pid := range tree.Children(tree.Proc(), os.Getpid()) {
		if pid == k.server || k.known[pid] {
			continue
		}
		birth, err := tree.Birth(tree.Proc(), pid)
		uid, uerr := userOf(pid)
		if _, ender := k.enders[pid]; err == nil && uerr == nil && uid != 0 && !ender {
			left[uid] = append(left[uid], fmt.Sprintf("%d:%d", pid, birth))
		}
	}
	pause := stuckPause
	for uid, pids := range left {
		// It is never waited for: it is hers, and she may stop it. One of a kind
		// is enough for somebody who does.
		if slices.Contains(slices.Collect(maps.Values(k.enders)), uid) {
			continue
		}
		// We have no right to signal a user's process; she has.
		pid, err := spawn(append([]string{"end"}, pids...), []int{-1, -1, -1},
			&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}})
		if err != nil {
			logf("uid %d: ending %v: %v", uid, pids, err)
			continue
		}
		k.enders[pid], pause = uid, sweepPause
	}
	if len(left) > 0 {
		k.sweep = time.After(pause)
	}
}

// userOf is the real uid in /proc/PID/status (proc(5)).
func userOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\nUid:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("no Uid")
	}
	return strconv.Atoi(fields[0])
}

// replace makes this process the program that is installed now, keeps the
// listener and the sessions, and has a new server started.
func (k *keeper) replace() error {
	if k.server != 0 {
		if err := unix.Kill(k.server, unix.SIGTERM); err == nil {
			var status unix.WaitStatus
			for {
				if _, err := unix.Wait4(k.server, &status, 0, nil); !errors.Is(err, unix.EINTR) {
					break
				}
			}
		}
		k.server = 0
		k.hearAll()
	}
	state := []string{strconv.Itoa(k.listener)}
	for pid := range k.known {
		state = append(state, strconv.Itoa(pid))
	}
	if _, err := unix.FcntlInt(uintptr(k.listener), unix.F_SETFD, 0); err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	// Until the next program listens for it, a second one would be its end, and the
	// container's; what is ignored stays so (execve(2)).
	signal.Ignore(unix.SIGHUP)
	err := syscall.Exec(os.Args[0], []string{os.Args[0], "serve", strings.Join(state, ",")}, os.Environ())
	signal.Notify(k.signals, unix.SIGHUP)
	unix.CloseOnExec(k.listener)
	k.serve()
	return err
}
