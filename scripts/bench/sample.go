// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"time"
)

// measureInterleaved measures each column n times, in turns, and returns the medians.
func measureInterleaved(columns []column, n int, measure func(column) (float64, error)) ([]float64, error) {
	values := make([][]float64, len(columns))
	for range n {
		for i, c := range columns {
			v, err := measure(c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w: %s", c.name, err, words(err))
			}
			values[i] = append(values[i], v)
		}
	}
	medians := make([]float64, len(columns))
	for i := range values {
		medians[i] = quantile(values[i], 0.5)
	}
	return medians, nil
}

// quantile returns the value that the part q of all values does not exceed.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// millis runs cmd.
func millis(cmd *exec.Cmd) (float64, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%q: %w: %s", cmd.Args, err, said.Bytes())
	}
	return since(start), err
}

func since(start time.Time) float64 { return float64(time.Since(start).Nanoseconds()) / 1e6 }
