// SPDX-License-Identifier: Apache-2.0

package main

import (
	"berth/helper/internal/admin/containers"
	"errors"
	"fmt"
	"strings"
	"testing"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/policy"
)

// What an administrator is told to do, and that nobody is sent the wrong way.
func TestHints(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // a word of the hint; "": none
	}{
		{loginerror.ErrUnreachable, "engine.socket"},
		{loginerror.ErrNoImage, "make image"},
		{containers.ErrDifferent, "--recreate"},
		{&policy.Problems{}, "berth.toml(5)"},
		{loginerror.ErrNoContainer, ""},
		{loginerror.ErrPaused, ""},
		{errors.New("the engine does not answer: this is only text"), ""},
	} {
		for _, err := range []error{c.err, fmt.Errorf("create the container: %w: %w", c.err, errors.New("cause"))} {
			if got := hint(err); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("%v: %q; it should have %q", err, got, c.want)
			}
		}
	}
}
