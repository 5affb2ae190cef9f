// SPDX-License-Identifier: Apache-2.0

package dropin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/admin/sshdcheck"
	"berth/helper/internal/policy"
)

// Installer puts the drop-in in place.
type Installer struct {
	Host    sshdcheck.Host // with what is wanted
	Written string         // a copy of what was written last, to tell what was edited since
	// Check judges the host, and fails if it does not confine.
	Check func(context.Context) (sshdcheck.Report, error)
	Err   io.Writer // what was done, for the administrator
}

func (i Installer) say(format string, args ...any) {
	fmt.Fprintf(i.Err, "berth: "+format+"\n", args...)
}

// Install writes the drop-in that is wanted, unless it is there already, or was edited. If sshd then
// takes it for wrong, or would not confine by it, the one before comes back.
func (i Installer) Install(ctx context.Context) (report sshdcheck.Report, err error) {
	if err := i.Host.Test(ctx); err != nil {
		return report, fmt.Errorf("nothing is changed: %w", err)
	}
	path := i.Host.DropIn
	have, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return report, err
	}
	edited := !missing && !i.isOurs(path, string(have))
	replace := !edited && string(have) != i.Host.Wanted
	if edited {
		i.say("%s was edited and stays as it is; `berth sshd-config | diff %s -` shows what differs. "+
			"Undo the changes, or move your own lines to another file there: then berth writes this one again", path, path)
	}
	if replace {
		if err := i.put(path, missing); err != nil {
			return report, err
		}
	}
	if err = i.Host.Test(ctx); err == nil {
		report, err = i.Check(ctx)
	}
	switch {
	case err != nil && replace:
		return sshdcheck.Report{}, errors.Join(err, i.undo(path, missing))
	case err != nil:
		return report, err
	case edited && forwardsLess(report):
		return report, fmt.Errorf("%s forwards less than berth.toml says, and was edited: mend it by hand, see above", path)
	case edited:
		return report, nil
	}
	if err := os.Remove(old(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return report, err
	}
	if replace {
		i.say("%s is in place; reload sshd now (systemctl reload ssh)", path)
	} else {
		i.say("%s is up to date", path)
	}
	return report, i.remember()
}

// isOurs reports whether nobody but berth has written the drop-in: it is what is wanted, what was written
// last, or the one of the package.
func (i Installer) isOurs(path, have string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	stock, _ := Text(policy.Config{}, i.Host.Session) // no name to be misread
	written, err := os.ReadFile(i.Written)
	return have == i.Host.Wanted || have == stock || err == nil && have == string(written)
}

// forwardsLess reports whether somebody may forward less than berth.toml says.
func forwardsLess(r sshdcheck.Report) bool {
	return slices.ContainsFunc(r.Problems, func(p sshdcheck.Problem) bool { return p.Forwards })
}

func old(path string) string { return path + ".berth-old" }

// put replaces the drop-in in one step, with the owner and the mode of the one before, which stays
// beside it under a name that sshd does not read.
func (i Installer) put(path string, missing bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	next := path + ".berth-new"
	if err := write(next, i.Host.Wanted); err != nil {
		return err
	}
	if !missing {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		_ = os.Remove(old(path))
		err = errors.Join(os.Chown(next, int(owner.Uid), int(owner.Gid)), os.Chmod(next, info.Mode().Perm()), os.Link(path, old(path)))
		if err != nil {
			return err
		}
	}
	return os.Rename(next, path)
}

// undo puts back what put has replaced.
func (i Installer) undo(path string, missing bool) error {
	err := error(nil)
	if missing {
		err = os.Remove(path)
	} else {
		err = os.Rename(old(path), path)
	}
	if err == nil {
		i.say("%s is as it was", path)
	}
	return err
}

// remember notes what was written.
func (i Installer) remember() error {
	if err := os.MkdirAll(filepath.Dir(i.Written), 0o755); err != nil {
		return err
	}
	return hostfiles.ReplaceFile(i.Written, []byte(i.Host.Wanted))
}

// write makes a file that only root can write.
func write(path, text string) error {
	_ = os.Remove(path)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
}
