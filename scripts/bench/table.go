// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
)

// A row is one measure's figures, one for each column; NaN: not measured.
type row struct {
	name   string
	values []float64
	goal   goal
}

// A goal is issue 4's, for the direct column: of its ratio to plain, or of its
// own value.
type goal struct {
	sign string // "<=", ">="; "": none
	than float64
	own  bool
}

var none goal

func ratio(sign string, than float64) goal { return goal{sign, than, false} }
func value(sign string, than float64) goal { return goal{sign, than, true} }

func (r row) ratio(to int) float64 { return r.values[direct] / r.values[to] }

// judge returns the goal as text, and whether it is met.
func (r row) judge() (string, string) {
	g := r.goal
	if g.sign == "" {
		return "", ""
	}
	figure, of := r.ratio(plain), "ratio"
	if g.own {
		figure, of = r.values[direct], "value"
	}
	met := "NO"
	if g.sign == "<=" && figure <= g.than || g.sign == ">=" && figure >= g.than {
		met = "met"
	}
	return fmt.Sprintf("%s %s %g", of, g.sign, g.than), met
}

// add keeps a row for the table, and shows that it is done.
func (b *bench) add(name string, values []float64, g goal) {
	r := row{name, values, g}
	b.rows = append(b.rows, r)
	_, met := r.judge()
	fmt.Fprintf(os.Stderr, "bench: %s: plain %s, direct %s  %s\n", name, number(values[plain]), number(values[direct]), met)
}

func (b *bench) print(to io.Writer) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tplain\tdirect\texec\tCLI\tdirect/plain\tdirect/CLI\tgoal\t\t")
	for _, r := range b.rows {
		goal, met := r.judge()
		fmt.Fprintf(table, "%s\t", r.name)
		for _, v := range append(slices.Clone(r.values), r.ratio(plain), r.ratio(cli)) {
			fmt.Fprintf(table, "%s\t", number(v))
		}
		fmt.Fprintf(table, "%s\t%s\t\n", goal, met)
	}
	return table.Flush()
}

// number is v with three digits that count, and "-" for none.
func number(v float64) string {
	switch {
	case math.IsNaN(v), math.IsInf(v, 0):
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
