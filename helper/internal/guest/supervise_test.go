// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"slices"
	"testing"
	"testing/fstest"
)

func stat(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// A process may call itself anything; the tree is read right all the same.
func TestDescendants(t *testing.T) {
	proc := fstest.MapFS{
		"1/stat":    stat("1 (init) S 0 1 1"),
		"10/stat":   stat("10 (berth-enter) S 0 10 10"),
		"11/stat":   stat("11 (evil) S 1 ) S 10 11 11"),
		"12/stat":   stat("12 (a\nb) S 11 12 12"),
		"13/stat":   stat("13 (other) S 1 13 13"),
		"14/stat":   stat("garbage"),
		"self/stat": stat("10 (berth-enter) S 10 10 10"),
	}
	if got := descendants(proc, 10); !slices.Equal(got, []int{11, 12}) {
		t.Errorf("descendants: %v", got)
	}
}
