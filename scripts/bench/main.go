// SPDX-License-Identifier: Apache-2.0

// bench measures one run of berth side by side with the same sshd without it,
// and with `docker exec -i` as the ForceCommand, and prints medians and ratios.
// It needs a lab of its own, and says nothing about good or bad.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A column is one way to run a command on the host.
type column struct {
	name string
	args []string // of ssh, before the command
}

func (c column) command(command string) *exec.Cmd {
	return exec.Command("ssh", append(slices.Clone(c.args), command)...)
}

func run() error {
	out, err := exec.Command("scripts/lab", "up", "--owner", fmt.Sprint(os.Getpid())).Output()
	if err != nil {
		return fmt.Errorf("lab up: %w", err)
	}
	lab := strings.TrimSpace(string(out))
	defer func() { _ = exec.Command("scripts/lab", "down", "--lab", lab).Run() }()
	columns, stop, err := prepare(lab)
	if err != nil {
		return err
	}
	defer stop()
	for _, c := range columns {
		if out, err := c.command("echo ok").Output(); err != nil || string(out) != "ok\n" {
			return fmt.Errorf("%s does not work: %q, %w", c.name, out, err)
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tplain\tberth\tdocker CLI\tberth/plain\tberth/CLI\t")
	if err := rows(table, lab, columns); err != nil {
		return err
	}
	return table.Flush()
}

func rows(table io.Writer, lab string, columns []column) error {
	logins, err := interleaved(columns, 21, func(c column) (float64, error) { return millis(c.command("true")) })
	if err != nil {
		return err
	}
	row(table, "ssh host true, ms", logins)
	channels, closeAll, err := masters(lab, columns)
	if err != nil {
		return err
	}
	defer closeAll()
	multiplexed, err := interleaved(channels, 31, func(c column) (float64, error) { return millis(c.command("true")) })
	if err != nil {
		return err
	}
	row(table, "multiplexed command, ms", multiplexed)
	const mib = 256
	down, err := interleaved(channels, 5, func(c column) (float64, error) {
		ms, err := millis(c.command(fmt.Sprintf("head -c %d /dev/zero", mib<<20)))
		return mib / ms * 1000, err
	})
	if err != nil {
		return err
	}
	row(table, "bulk down, MiB/s", down)
	up, err := interleaved(channels, 5, func(c column) (float64, error) {
		zero, err := os.Open("/dev/zero")
		if err != nil {
			return 0, err
		}
		defer zero.Close()
		cmd := c.command("cat >/dev/null")
		cmd.Stdin = io.LimitReader(zero, mib<<20)
		ms, err := millis(cmd)
		return mib / ms * 1000, err
	})
	if err != nil {
		return err
	}
	row(table, "bulk up, MiB/s", up)
	memory, err := idle(channels)
	if err != nil {
		return err
	}
	row(table, "idle session, PSS KiB", memory)
	return nil
}

func millis(cmd *exec.Cmd) (float64, error) {
	start := time.Now()
	err := cmd.Run()
	return float64(time.Since(start).Microseconds()) / 1000, err
}

// interleaved measures each column n times, in turns, and returns the medians.
func interleaved(columns []column, n int, measure func(column) (float64, error)) ([]float64, error) {
	values := make([][]float64, len(columns))
	for range n {
		for i, c := range columns {
			v, err := measure(c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			values[i] = append(values[i], v)
		}
	}
	medians := make([]float64, len(columns))
	for i := range values {
		slices.Sort(values[i])
		medians[i] = values[i][n/2]
	}
	return medians, nil
}

func row(table io.Writer, name string, v []float64) {
	plain := "-" // it has none of its own
	if v[0] > 0 {
		plain = fmt.Sprintf("%.2f", v[1]/v[0])
	}
	fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%s\t%.2f\t\n", name, v[0], v[1], v[2], plain, v[1]/v[2])
}
