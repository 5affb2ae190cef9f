// SPDX-License-Identifier: Apache-2.0

package login

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/paths"
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
	return parsePlace(target)
}

func parsePlace(target string) (Place, error) {
	rest, found := strings.CutPrefix(target, filepath.Join("..", filepath.Base(policy.ProfilesDir))+"/")
	profile, container, whole := strings.Cut(rest, "/")
	if !found || !whole || !isName(profile) || !isName(container) {
		return Place{}, fmt.Errorf("%w: the link in %s leads to %q", loginerror.ErrNoContainer, policy.UsersDir, target)
	}
	return Place{profile, container}, nil
}

func isName(s string) bool { return s != "" && !strings.HasPrefix(s, ".") && !strings.Contains(s, "/") }

// Socket is where the container serves sessions.
func (p Place) Socket() string {
	return filepath.Join(policy.ProfilesDir, p.Profile, p.Container, paths.Socket)
}

// policy returns the policy of the place; notFound is why there is none.
func (p Place) policy(c policy.Config, notFound error) (policy.Policy, error) {
	if notFound != nil {
		return policy.Policy{}, notFound
	}
	found, ok := c.Profile(p.Profile)
	if !ok {
		return found, loginerror.New("your container belongs to a profile that is gone; connect again", fmt.Errorf("berth.toml has no profile %s", p.Profile))
	}
	found.Container.Name = p.Container
	return found, nil
}

// prepared is where PAM tells us how long the making of the container took, in milliseconds, if that was
// long, or that it failed.
const prepared = "BERTH_PREPARED"

// PrepareFailed reports whether PAM has just failed to make the user's container ready.
func PrepareFailed() bool { return os.Getenv(prepared) == "failed" }

// notePrepared tells a user with a terminal why the login took long.
func notePrepared(tty bool) {
	ms, err := strconv.Atoi(os.Getenv(prepared))
	if err == nil && tty && ms > 0 && ms < 1000000 {
		fmt.Fprintf(os.Stderr, "berth: your container was made in %d.%d s\n", ms/1000, ms%1000/100)
	}
}
