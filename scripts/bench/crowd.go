// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// loginsAtOnce is how long 50 logins take that all begin together.
func (b *bench) loginsAtOnce() error {
	n := b.count(50, 5)
	v, err := measureInterleaved(b.direct, b.count(3, 1), func(c column) (float64, error) {
		errs := make([]error, n)
		var all sync.WaitGroup
		start := time.Now()
		for i := range n {
			all.Go(func() { _, errs[i] = commandTime(c) })
		}
		all.Wait()
		return since(start), errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("%d logins at once, ms", n), v, none)
	return nil
}

// loginsInCrowd is a login's time while 200 sessions are open, and what it is relative to
// the time with none, which is measured before and after. The CLI's 200 would
// need 5 GB.
func (b *bench) loginsInCrowd() error {
	n, samples := b.count(200, 10), b.count(11, 1)
	at, relative := make([]float64, columns), make([]float64, columns)
	for i, c := range b.direct {
		if i == cli {
			at[i], relative[i] = math.NaN(), math.NaN()
			continue
		}
		var times [3][]float64 // before, during, after
		measure := func(when int) error {
			for range samples {
				ms, err := commandTime(c)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				times[when] = append(times[when], ms)
			}
			return nil
		}
		if err := measure(0); err != nil {
			return err
		}
		closeAll, err := b.shared[i].crowd(n)
		if err == nil {
			time.Sleep(2 * time.Second) // they are idle then
			err = measure(1)
		}
		closeAll()
		if err == nil {
			err = measure(2)
		}
		if err != nil {
			return err
		}
		at[i] = quantile(times[1], 0.5)
		relative[i] = at[i] / quantile(append(times[0], times[2]...), 0.5)
	}
	b.add(fmt.Sprintf("login at %d open sessions, ms", n), at, none)
	b.add("the same, relative to none", relative, value("<=", 1.1))
	return nil
}
