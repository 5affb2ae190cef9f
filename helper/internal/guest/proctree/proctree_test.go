// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"slices"
	"testing"
	"testing/fstest"
)

func entry(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// A process may call itself anything; the tree is read right all the same.
func TestDescendants(t *testing.T) {
	proc := fstest.MapFS{
		"1/stat":    entry("1 (init) S 0 1 1"),
		"10/stat":   entry("10 (berth-guest) S 0 10 10"),
		"11/stat":   entry("11 (evil) S 1 ) S 10 11 11"),
		"12/stat":   entry("12 (a\nb) S 11 12 12"),
		"13/stat":   entry("13 (other) S 1 13 13"),
		"14/stat":   entry("garbage"),
		"self/stat": entry("10 (berth-guest) S 10 10 10"),
	}
	if got := Descendants(proc, 10); !slices.Equal(got, []int{11, 12}) {
		t.Errorf("descendants: %v", got)
	}
}

func TestChildren(t *testing.T) {
	proc := fstest.MapFS{
		"self/task/10/children": entry("11 13 "),
		"self/task/12/children": entry(""),
		"self/task/15/children": entry("16 "),
		"11/task/11/children":   entry("17 "),
	}
	if got := Children(proc); !slices.Equal(got, []int{11, 13, 16}) {
		t.Errorf("children: %v", got)
	}
}
