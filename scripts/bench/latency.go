// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

func commandTime(c column) (float64, error) { return millis(c.command("true")) }

// logins is a connection, a login and a command.
func (b *bench) logins() error {
	v, err := measureInterleaved(b.direct, b.count(31, 2), commandTime)
	if err != nil {
		return err
	}
	b.add("login, ssh host true, ms", v, ratio("<=", 1.05))
	return nil
}

// commands are on connections that are there already.
func (b *bench) commands() error {
	v, err := measureInterleaved(b.shared, b.count(41, 2), commandTime)
	if err != nil {
		return err
	}
	b.add("multiplexed command, ms", v, ratio("<=", 1.5))
	return nil
}

// shells is how long a shell takes to start where the commands run, with nothing
// between: what the container's file system adds to every command, whoever brings
// it there.
func (b *bench) shells() error {
	v, err := measureInterleaved(b.shared, b.count(5, 1), func(c column) (float64, error) {
		const times = 20
		out, err := c.command(fmt.Sprintf("from=$(date +%%s%%N); for i in $(seq %d); do bash -c true; done; echo $(($(date +%%s%%N) - from))", times)).Output()
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		return ns / times / 1e6, err
	})
	if err != nil {
		return err
	}
	b.add("bash -c true from a loop there, ms", v, none)
	return nil
}

// echo is from a key to the echo of a program in raw mode, as an editor's or a
// shell's, with a pause between two in which every process falls asleep.
func (b *bench) echo() error {
	const block, pause = 25, 2 * time.Millisecond
	var open []*session
	defer func() {
		for _, s := range open {
			s.close()
		}
	}()
	for _, c := range b.shared {
		s, err := c.open("-tt")
		if err != nil {
			return err
		}
		open = append(open, s)
	}
	took := make([][]float64, len(open))
	for range b.count(80, 2) {
		for i, s := range open {
			for range block {
				time.Sleep(pause)
				start := time.Now()
				if _, err := s.in.Write([]byte{'k'}); err != nil {
					return fmt.Errorf("key: %w", err)
				}
				key, err := s.out.ReadByte()
				if err != nil {
					return fmt.Errorf("echo: %w", err)
				}
				if key != 'k' {
					return fmt.Errorf("echo: %q came back for a key", key)
				}
				took[i] = append(took[i], since(start))
			}
		}
	}
	for _, q := range []struct {
		name string
		part float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		v := make([]float64, len(took))
		for i := range took {
			v[i] = quantile(took[i], q.part)
		}
		b.add("key to echo, "+q.name+", ms", v, ratio("<=", 1.2))
	}
	return nil
}
