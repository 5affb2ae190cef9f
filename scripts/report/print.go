// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

// slowestShown is how many of the slowest tests are named.
const slowestShown = 15

// finish prints what the whole stream came to, and returns whether all is well.
func (r *report) finish() bool {
	r.endRun(nil)
	if r.runs == 0 {
		r.fail("no run", []string{"nothing was run\n"})
	}
	r.printEntries("failures", r.failures)
	slices.SortStableFunc(r.slow, func(a, b timed) int { return int(1000 * (b.elapsed - a.elapsed)) })
	fmt.Fprintln(r.out, "\n== slowest tests")
	for _, t := range r.slow[:min(slowestShown, len(r.slow))] {
		fmt.Fprintf(r.out, "%7.1fs  %s\n", t.elapsed, t.where)
	}
	r.printEntries("skips (what a test lacks is scripts/deps' to install)", r.skips)
	line := fmt.Sprintf("%d passed, %d failed", r.passed, r.failed)
	if r.skipped > 0 {
		line += fmt.Sprintf(", %d skipped", r.skipped)
	}
	fmt.Fprintf(r.out, "\n%s\n", line)
	return r.failed == 0 && r.skipped == 0
}

func (r *report) printEntries(title string, all []entry) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(r.out, "\n== %s\n", title)
	for _, t := range all {
		fmt.Fprintf(r.out, "\n-- %s\n", t.where)
		text := strings.Join(t.lines, "")
		fmt.Fprint(r.out, text)
		if text == "" {
			fmt.Fprintln(r.out, "    (without a word)")
		} else if !strings.HasSuffix(text, "\n") {
			fmt.Fprintln(r.out)
		}
	}
}
