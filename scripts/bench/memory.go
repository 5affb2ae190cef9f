// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory is what an idle session adds to all that is berth's or docker's own:
// helpers, supervisors, and what keeper and server grow by. sshd's processes and
// the user's program are the same in every column; what the engine's daemons grow
// by is not counted.
func (b *bench) memory() error {
	const sessions = 20
	v := []float64{math.NaN(), 0, 0, 0}
	for i, c := range b.shared {
		if i == plain {
			continue
		}
		before, err := b.footprint()
		if err != nil {
			return err
		}
		closeAll, err := c.crowd(sessions)
		if err == nil {
			time.Sleep(3 * time.Second) // idle is what comes after the start
			var during float64
			during, err = b.footprint()
			v[i] = (during - before) / sessions
		}
		closeAll()
		if err != nil {
			return err
		}
	}
	b.add("an idle session's memory, PSS KiB", v, value("<=", 6<<10))
	return nil
}

// footprint is the sum of the proportional set sizes, in KiB, of berth's and the
// CLI's processes in the lab and in its container.
func (b *bench) footprint() (float64, error) {
	files, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, exe := range files {
		program, err := os.Readlink(exe)
		if err != nil {
			continue // it has ended
		}
		switch name := filepath.Base(program); {
		case name != "docker" && !strings.HasPrefix(name, "berth-"):
		case b.isOfLab(filepath.Dir(exe)):
			sum += pss(filepath.Dir(exe))
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("no process of berth's is in %s", b.lab)
	}
	return sum, nil
}

// isOfLab reports whether a process is in the lab, or in its container: both have
// mounts of the lab's.
func (b *bench) isOfLab(process string) bool {
	mounts, err := os.ReadFile(filepath.Join(process, "mountinfo"))
	return err == nil && bytes.Contains(mounts, []byte("/"+filepath.Base(b.lab)+"/"))
}

// pss is from proc(5), smaps_rollup.
func pss(process string) float64 {
	text, _ := os.ReadFile(filepath.Join(process, "smaps_rollup"))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			v, _ := strconv.ParseFloat(f[1], 64)
			return v
		}
	}
	return 0
}
