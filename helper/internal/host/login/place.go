// SPDX-License-Identifier: Apache-2.0

package login

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/rootfile"
	"berth/helper/internal/policy"
)

// Place is which container is the user's. Root has decided it when PAM opened the session, and left a
// link (`berth prepare`); nobody else can make one.
type Place struct{ Profile, Container string }

// FindPlace reads the link of this process's user. No policy has been read yet.
func FindPlace() (Place, error) {
	target, err := os.Readlink(filepath.Join(policy.UsersDir, strconv.Itoa(os.Getuid())))
	if errors.Is(err, os.ErrNotExist) {
		target, err = os.Readlink(filepath.Join(policy.UsersDir, policy.AnyUser))
	}
	if err != nil {
		return Place{}, fmt.Errorf("%w: %w; run `berth up`", loginerror.ErrNoContainer, err)
	}
	rest, found := strings.CutPrefix(target, filepath.Join("..", filepath.Base(policy.ProfilesDir))+"/")
	profile, container, whole := strings.Cut(rest, "/")
	if !found || !whole || profile == "" || container == "" || strings.Contains(container, "/") {
		return Place{}, fmt.Errorf("%w: the link in %s leads to %q", loginerror.ErrNoContainer, policy.UsersDir, target)
	}
	return Place{profile, container}, nil
}

// Socket is where the container serves sessions.
func (p Place) Socket() string {
	return filepath.Join(policy.ProfilesDir, p.Profile, p.Container, paths.Socket)
}

// policy returns the policy of the place.
func (p Place) policy(c policy.Config) (policy.Policy, error) {
	found, ok := c.Profile(p.Profile)
	if !ok {
		return found, loginerror.New("your container belongs to a profile that is gone; connect again", fmt.Errorf("berth.toml has no profile %s", p.Profile))
	}
	found.Container.Name = p.Container
	return found, nil
}

// checkDrained refuses a session while the administrator wants none to begin.
func checkDrained() error {
	text, err := rootfile.Read(policy.DrainFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", policy.DrainFile, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return loginerror.Deny(cmp.Or(line, paths.Drained), errors.New("drained"))
}

// notePrepared tells a user with a terminal why the login took long: PAM has told us how long, in milliseconds.
func notePrepared(tty bool) {
	ms, err := strconv.Atoi(os.Getenv("BERTH_PREPARED"))
	if err == nil && tty && ms > 0 && ms < 1000000 {
		fmt.Fprintf(os.Stderr, "berth: your container was made in %d.%d s\n", ms/1000, ms%1000/100)
	}
}
