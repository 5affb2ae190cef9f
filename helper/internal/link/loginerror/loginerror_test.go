// SPDX-License-Identifier: Apache-2.0

package loginerror

import (
	"errors"
	"fmt"
	"testing"
)

func TestOf(t *testing.T) {
	cause := errors.New("connection refused")
	notFound := &Refusal{Status: 127, User: "/bin/zsh: no such file", Cause: cause}
	for _, c := range []struct {
		name   string
		err    error
		status int
		user   string
	}{
		{"none in the chain", fmt.Errorf("dial: %w", cause), ExitFailure, "other words"},
		{"a refusal", notFound, 127, "/bin/zsh: no such file"},
		{"a wrapped one", fmt.Errorf("start: %w", notFound), 127, "/bin/zsh: no such file"},
		{"the outer of two", fmt.Errorf("%w: %w", ErrNotServed, notFound), ExitFailure, ErrNotServed.User},
		{"the first of joined ones", errors.Join(cause, ErrPaused, ErrNoImage), ExitFailure, ErrPaused.User},
	} {
		r := Of(c.err, "other words")
		if r.Status != c.status || r.User != c.user {
			t.Errorf("%s: %d, %q", c.name, r.Status, r.User)
		}
		// The log gets the whole chain, and callers may ask what it holds.
		if r.Error() != c.err.Error() || !errors.Is(r, cause) && !errors.Is(r, ErrPaused) {
			t.Errorf("%s: the cause is %q", c.name, r)
		}
	}
	if errors.Is(ErrPaused, ErrNotRunning) {
		t.Error("two failures are one")
	}
}
