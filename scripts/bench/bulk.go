// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

const mib = 1 << 20

// amount is how much of n MiB a column moves: the CLI's copies are slow.
func (b *bench) amount(c column, n int64) int64 {
	n = int64(b.count(int(n), int(n)/64))
	if c.name == b.shared[cli].name {
		n = max(n/8, 1)
	}
	return n * mib
}

// bulk is a GiB down and a GiB up, without a terminal.
func (b *bench) bulk() error {
	down, err := measureInterleaved(b.shared, b.count(3, 1), func(c column) (float64, error) {
		return receiveRate(c, b.amount(c, 1024), "head -c %d /dev/zero")
	})
	if err != nil {
		return err
	}
	b.add("1 GiB down, MiB/s", down, ratio(">=", 0.95))
	up, err := measureInterleaved(b.shared, b.count(3, 1), func(c column) (float64, error) {
		zero, err := os.Open("/dev/zero")
		if err != nil {
			return 0, err
		}
		defer zero.Close()
		n := b.amount(c, 1024)
		cmd := c.command("cat >/dev/null")
		cmd.Stdin = io.LimitReader(zero, n)
		ms, err := millis(cmd)
		return rate(n, ms), err
	})
	if err != nil {
		return err
	}
	b.add("1 GiB up, MiB/s", up, ratio(">=", 0.95))
	return nil
}

// screen is 64 MiB through a terminal. The issue sets no goal for it.
func (b *bench) screen() error {
	v, err := measureInterleaved(b.shared, b.count(5, 1), func(c column) (float64, error) {
		return receiveRate(c, b.amount(c, 64), "stty raw -echo; head -c %d /dev/zero", "-tt")
	})
	if err != nil {
		return err
	}
	b.add("64 MiB through a pty, MiB/s", v, none)
	return nil
}

// receiveRate is the rate at which n bytes of the command's arrive. A client that
// keeps its input open sends no end of file: that a terminal would take for more.
func receiveRate(c column, n int64, command string, options ...string) (float64, error) {
	cmd := c.command(append(options, fmt.Sprintf(command, n))...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	got, err := io.Copy(io.Discard, out)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if got != n {
		fmt.Fprintf(os.Stderr, "bench: %s: %d bytes of %d arrived\n", c.name, got, n)
	}
	return rate(got, since(start)), err
}

func rate(n int64, ms float64) float64 { return float64(n) / mib / ms * 1000 }
