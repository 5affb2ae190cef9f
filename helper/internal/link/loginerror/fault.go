// SPDX-License-Identifier: Apache-2.0

// Package fault names what can keep a login from its container, whichever way
// it takes there. Errors of other packages wrap these and hold the cause; what
// the user is told of each is package login's.
package loginerror

import "errors"

// What can be wrong with the engine or its container.
var (
	ErrUnreachable = errors.New("the container engine does not answer")
	ErrNoContainer = errors.New("there is no such container")
	ErrNoImage     = errors.New("there is no such image")
	ErrNotRunning  = errors.New("the container is not running")
	ErrPaused      = errors.New("the container is paused")
	ErrNoGuest     = errors.New("berth-guest is not in the container")
	ErrNotSetgid   = errors.New("berth-session-exec is not setgid to the engine's group")
)

// ErrNotServed is a container that serves no socket: nobody listens, or nobody
// answers. Nothing has been asked for yet, so that another way may be tried.
var ErrNotServed = errors.New("the container does not serve sessions")
