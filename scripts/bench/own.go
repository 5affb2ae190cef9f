// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// ownConfig gives the members of kayakers a container each, and everybody else one that all
// share.
const ownConfig = `[profile.own]
groups = ["kayakers"]
mode = "user"
[profile.own.container]
idle = "1h"
`

// manyOwn is how many users' containers are idle at last.
const manyOwn = 50

// own measures containers of mode user: the time of a login to one that runs and to one that has
// to be made, beside a shared container and plain sshd, and what idle ones take.
func own(ctx context.Context, quick bool, to io.Writer) error {
	lab, err := raiseWith(ownConfig)
	if err != nil {
		return err
	}
	defer lab.Down()
	h := &house{ctx: ctx, lab: lab, first: 40000 + 10*rand.IntN(1000)}
	many, samples := manyOwn, 21
	if quick {
		many, samples = 3, 3
	}
	if err := h.addUsers(many, "berth,kayakers"); err != nil {
		return err
	}
	made := h.column("u0")
	made.name = "made"
	columns := []column{h.column("admin"), h.column("bob"), h.column("u1"), made}
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tplain\tshared\town, runs\town, made\truns/shared\tmade-shared\tgoals\t")
	for _, row := range []struct {
		name string
		time func(column) (float64, error)
	}{{"login, ssh host true, ms", commandTime}, {"to the prompt, ms", promptTime}} {
		v, err := measureInterleaved(columns, samples, func(c column) (float64, error) {
			if c.name == made.name {
				if out, err := exec.Command("docker", "rm", "-f", h.container(0)).CombinedOutput(); err != nil && !bytes.Contains(out, []byte("No such container")) {
					return 0, fmt.Errorf("%w: %s", err, out)
				}
			}
			return row.time(c)
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\tratio <= 1.03, at most 400 more\t\n", row.name, number(v[0]), number(v[1]), number(v[2]), number(v[3]),
			number(v[2]/v[1]), number(v[3]-v[1]))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(to, "idle containers of one user each\tPSS KiB of one, without its shim\tof the shim\tthreads of one\n")
	for _, n := range []int{1, many} {
		for i := range n {
			if _, err := millis(h.column(fmt.Sprintf("u%d", i)).command("true")); err != nil {
				return err
			}
		}
		inside, shims, threads, err := h.idle(n)
		if err != nil {
			return err
		}
		fmt.Fprintf(to, "%d\t%s (goal: 2560)\t%s\t%s\n", n, number(inside/float64(n)), number(shims/float64(n)), number(threads/float64(n)))
	}
	return nil
}

// promptTime is the time until a shell in a terminal answers.
func promptTime(c column) (float64, error) {
	start := time.Now()
	s, err := c.login()
	if err != nil {
		return 0, err
	}
	defer s.close()
	return since(start), nil
}

// container is the name of the i-th user's.
func (h *house) container(i int) string {
	name, _ := os.ReadFile(h.lab.Path("container"))
	return fmt.Sprintf("%s-own-%d", strings.TrimSpace(string(name)), h.first+i)
}

// idleTimeout is how long the containers may take until nothing but their keepers runs.
const idleTimeout = time.Minute

// idle waits until n containers are idle, and returns what they take together.
func (h *house) idle(n int) (inside, shims, threads float64, err error) {
	for end := time.Now().Add(idleTimeout); ; time.Sleep(500 * time.Millisecond) {
		inside, shims, threads = 0, 0, 0
		processes := 0
		for i := range n {
			out, err := exec.Command("docker", "top", h.container(i), "-eo", "pid").Output()
			if err != nil {
				return 0, 0, 0, fmt.Errorf("docker top: %w", err)
			}
			for _, pid := range strings.Fields(string(out))[1:] {
				dir := filepath.Join("/proc", pid)
				count, _ := tasks(dir)
				processes, threads, inside = processes+1, threads+count, inside+pss(dir)
				if status, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil && processes == i+1 {
					if f := strings.Fields(string(status)); len(f) > 3 {
						shims += pss(filepath.Join("/proc", f[3]))
					}
				}
			}
		}
		if processes == n {
			return inside, shims, threads, nil
		}
		if time.Now().After(end) {
			return 0, 0, 0, fmt.Errorf("%d containers have %d processes after %v", n, processes, idleTimeout)
		}
	}
}
