// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"runtime"
	"strconv"

	"berth/helper/internal/policy"

	"golang.org/x/sys/unix"
)

// hostShare is the part of all processors that a container leaves to the host, where
// container.cpus does not say: sshd and an administrator's shell are never without.
const hostShare = 0.05

// nanoCPUs is container.cpus as the engine has it; 0: unlimited.
func nanoCPUs(p policy.Policy) int64 {
	cpus := p.Container.CPUs
	if cpus == nil {
		all := DefaultCPUs()
		cpus = &all
	}
	return int64(math.Round(*cpus * 1e9))
}

// DefaultCPUs is container.cpus where berth.toml has none: in hundredths, rounded down, for a figure that a
// person can read.
func DefaultCPUs() float64 { return math.Floor(float64(processors())*(1-hostShare)*100) / 100 }

func showCPUs(nano int64) string {
	if nano == 0 {
		return "unlimited"
	}
	return strconv.FormatFloat(float64(nano)/1e9, 'f', -1, 64)
}

// processors is how many pid 1 may use. The engine counts its own, which are the same;
// berth's could be fewer (taskset(1)), and each `berth up` would want another container.
func processors() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(1, &set); err != nil {
		return runtime.NumCPU()
	}
	return set.Count()
}

// usualWeight is cpu.weight of a cgroup whose weight nobody has set (cgroups(7)), as
// the engine leaves it where it is asked for no shares.
const usualWeight = 100

// cpuShares is the cpu.shares (cgroup v1) of which runc 1.1 makes weight (cgroup v2):
// 1 + (shares-2)*9999/262142, rounded down. By it 1024 shares, the usual number, are a weight of
// 39. Newer runtimes make 100 of them, and 57 of what is 20 here; but a weight below 39
// is below the usual one in any case.
func cpuShares(weight int64) int64 {
	if weight == usualWeight {
		return 0
	}
	return 2 + ((weight-1)*262142+9998)/9999
}

// cpuWeight is the reverse.
func cpuWeight(shares int64) int64 {
	if shares == 0 {
		return usualWeight
	}
	return 1 + (shares-2)*9999/262142
}
