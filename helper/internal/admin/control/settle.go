// SPDX-License-Identifier: Apache-2.0

// Process: berth, run by the administrator or by pam_berth.so's worker. As: root of
// the host.
//
// Some things must be done after each start of a container, and only root of the host may
// do them: limit the terminals, and protect berth's own processes from being ended when
// memory is short. There is no daemon for it: `berth up` does it, or the next login's PAM
// session.

package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/helper/internal/admin/mounts"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/threads"

	"golang.org/x/sys/unix"
)

// keeperScore is the oom_score_adj of the keeper and the servers (proc(5)). It is lower than
// any session's, which cannot go below 0. It is not -1000, so that the kernel can still
// end a server that grows without end; the next one follows.
const keeperScore = -900

// keeperNice is the keeper's nice value.
const keeperNice = -10

// Settle does it. It may be called at any time, and twice at once. The notes are for the
// administrator.
func (k Keeper) Settle(ptyMax int64) (notes []string, err error) {
	mark := filepath.Join(k.dir, paths.Unsettled)
	// First of all: what the keeper starts from here on needs another Settle.
	if err := os.Remove(mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("settle: %w", err)
	}
	defer func() {
		if err != nil {
			if file, cerr := os.OpenFile(mark, os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o600); cerr == nil {
				file.Close()
			}
		}
	}()
	c, err := k.Count()
	if err != nil {
		return nil, fmt.Errorf("settle: %w", err)
	}
	if err := k.remount(c.PID, ptyMax); err != nil {
		return nil, fmt.Errorf("settle: %w", err)
	}
	// The keeper must be quicker than the processes that take the memory; else it is idle.
	if err := unix.Setpriority(unix.PRIO_PROCESS, c.PID, keeperNice); err != nil && !errors.Is(err, unix.ESRCH) {
		notes = append(notes, fmt.Sprintf("the keeper's priority cannot be raised: %v", err))
	}
	err = setScores(c)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return append(notes, "root may not lower oom_score_adj on this host (it lacks CAP_SYS_RESOURCE): "+
			"when memory is short the kernel chooses between berth's processes and sessions by their size alone"), nil
	}
	return notes, err
}

// setScores lowers the score of the keeper and the servers, and sets that of the spawner
// and its children to 0. A score that root writes is also the lowest that the process and
// its descendants may choose for themselves (fs/proc/base.c, oom_score_adj_min).
func setScores(c Count) error {
	if c.OnDemand {
		// It starts supervisors when nobody settles, so all have the sessions' score. The
		// keeper is the smallest process, and only one user's sessions depend on it.
		return setScore(c.PID, 0)
	}
	ids, err := childrenOf(c.PID)
	if err != nil {
		return err
	}
	if c.OnDemand {
		// What it starts, it starts when nobody looks after it: all have the sessions' score. Only
		// one user's sessions would die with the keeper, which is the smallest process anyway.
		return setScore(c.PID, 0)
	}
	if err := setScore(c.PID, keeperScore); err != nil {
		return err
	}
	for pid, inside := range ids {
		switch inside {
		case c.Server, c.Standby:
			err = setScore(pid, keeperScore)
		case c.Spawner:
			err = setScore(pid, 0)
			supervisors, cerr := childrenOf(pid)
			err = errors.Join(err, cerr)
			for supervisor := range supervisors {
				err = errors.Join(err, setScore(supervisor, 0))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setScore(pid, score int) error {
	err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil // it has ended
	}
	return err
}

// childrenOf returns the children of pid, each with its pid in its own namespace.
func childrenOf(pid int) (map[int]int, error) {
	found := map[int]int{}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, fmt.Errorf("children: %w", err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(word)
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", child))
			_, rest, _ := strings.Cut(string(status), "\nNSpid:")
			line, _, _ := strings.Cut(rest, "\n")
			if pids := strings.Fields(line); len(pids) > 0 {
				found[child], _ = strconv.Atoi(pids[len(pids)-1])
			}
		}
	}
	return found, nil
}

// remount gives two file systems of the container options that the engine cannot. A remount
// loses every option that is not given again. limit is for /dev/pts: the kernel has one pool of
// terminals for all containers. In /proc users see no process but their own; who has gid 0
// sees all, which the keeper has, and no session (package access).
func (k Keeper) remount(pid int, limit int64) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	options, err := ptsOptions(pid)
	if err != nil {
		return err
	}
	// Asked again after opening: the pid has been the keeper's all the time.
	if again, err := k.Count(); err != nil || again.PID != pid {
		return fmt.Errorf("the container was restarted meanwhile: %w", errors.Join(err, unix.ESRCH))
	}
	return threads.Apart(func() error {
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
		}
		if err != nil {
			return err
		}
		const flags = unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NOEXEC
		terminals := unix.Mount("", "/dev/pts", "", flags, options+",max="+strconv.FormatInt(limit, 10))
		processes := unix.Mount("", "/proc", "", flags|unix.MS_NODEV, "hidepid=2,gid=0")
		return errors.Join(wrap("/dev/pts", terminals), wrap("/proc", processes))
	})
}

func wrap(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("remount %s: %w", path, err)
}

// ptsOptions returns gid, mode and ptmxmode of the devpts of a process.
func ptsOptions(pid int) (string, error) {
	all, err := mounts.Of(pid)
	if err != nil {
		return "", err
	}
	for _, m := range all {
		if m.Point != "/dev/pts" || m.Type != "devpts" {
			continue
		}
		var kept []string
		for _, option := range m.Options {
			if name, _, _ := strings.Cut(option, "="); name == "gid" || name == "mode" || name == "ptmxmode" {
				kept = append(kept, option)
			}
		}
		return strings.Join(kept, ","), nil
	}
	return "", errors.New("the container has no /dev/pts")
}
