// SPDX-License-Identifier: Apache-2.0

// Command report reads what `go test -json` says in all runs of scripts/test,
// tells how they get on, and ends with every failure in its own words, the slowest
// tests and every skip. Its last line is "N passed, N failed".
//
// Between the events stand two lines of scripts/test for each run: {"Run":TITLE}
// before it and {"Run":TITLE,"Status":N} behind it. Any other line is a word of the
// go command itself.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	if !r.finish() {
		os.Exit(1)
	}
}

// event is a line of the stream (go doc test2json; go help buildjson).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
	ImportPath                    string // of what is being built
	FailedBuild                   string // the ImportPath that Package could not be built for
	Run                           string // these two are scripts/test's
	Status                        *int
}

// read takes the whole stream. A line may be of any length.
func (r *report) read(from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				e = event{Action: "words", Output: string(line)}
			}
			r.take(e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
}
