// SPDX-License-Identifier: Apache-2.0

// Package loginerror is why a login fails: one type from the place that finds the
// reason, in the container or on the host, to the user's screen and the log.
package loginerror

import "errors"

// ExitFailure is the status of everything that berth itself refuses or cannot
// do. ssh(1) uses it for its own failures, too.
const ExitFailure = 255

// Refusal is a login's failure with words for the user.
type Refusal struct {
	Status int    // what ssh exits with: 126, 127 or ExitFailure
	User   string // one line for the user
	Cause  error  // what the log gets
	// Denied: berth does not want this session. All else is a session that berth
	// wanted and could not have.
	Denied bool
	// Wanted: an administrator has ended the session.
	Wanted bool
}

func (r *Refusal) Error() string { return r.Cause.Error() }
func (r *Refusal) Unwrap() error { return r.Cause }

// New returns a refusal with the status ExitFailure.
func New(user string, cause error) *Refusal {
	return &Refusal{Status: ExitFailure, User: user, Cause: cause}
}

// Deny returns a refusal of what the user may not have.
func Deny(user string, cause error) *Refusal {
	r := New(user, cause)
	r.Denied = true
	return r
}

// Of returns err as a refusal. Status, words, Denied and Wanted are of the first one in err's
// chain; without one the user is told otherwise. The cause is the whole chain.
func Of(err error, otherwise string) *Refusal {
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return &Refusal{Status: r.Status, User: r.User, Cause: err, Denied: r.Denied, Wanted: r.Wanted}
	}
	return New(otherwise, err)
}

// What the user is told when the reason is the administrator's business.
const (
	NotStarted       = "the session could not be started" + tellAdministrator
	NotStartedInside = "the session could not be started in the container"
	NoAnswer         = "the container does not answer" + tryAgain
)

const (
	tryAgain          = "; try again in a moment"
	tellAdministrator = "; please tell the administrator"
)

// What can be wrong with the engine or its container. Errors of other packages
// wrap these, and hold the cause.
var (
	ErrUnreachable = New("the container engine does not answer"+tryAgain, errors.New("the container engine does not answer"))
	ErrNoContainer = New("there is no container to log in to"+tellAdministrator, errors.New("there is no such container"))
	ErrNoImage     = New(NotStarted, errors.New("there is no such image"))
	ErrNotRunning  = New("the container is not running"+tryAgain, errors.New("the container is not running"))
	ErrPaused      = New("the container is paused"+tryAgain, errors.New("the container is paused"))
	ErrNoGuest     = New("the container lacks berth's own program"+tellAdministrator, errors.New("berth-guest is not in the container"))
	ErrNotSetgid   = New(NotStarted, errors.New("berth-session-exec is not setgid to the engine's group"))
)

// ErrNotServed is a container that serves no socket: nobody listens, or nobody
// answers. Nothing has been asked for yet, so that another way may be tried.
var ErrNotServed = New("the container does not serve sessions"+tryAgain, errors.New("the container does not serve sessions"))
