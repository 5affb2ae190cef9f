// SPDX-License-Identifier: Apache-2.0

package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/helper/internal/admin/control"
	"berth/helper/internal/admin/engine"
	"berth/helper/internal/admin/hostfiles"
	"berth/helper/internal/admin/sessions"
	"berth/helper/internal/link/drain"
	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/link/record"
	"berth/helper/internal/policy"
)

// Host is all containers of this host.
type Host struct {
	Config policy.Config
	Dirs   hostfiles.Dirs
	Engine *engine.Engine
	Out    io.Writer
	Err    io.Writer // notes for the administrator
}

// Shared returns the containers of the profiles of mode shared.
func (h Host) Shared() ([]Container, error) {
	var all []Container
	for _, p := range h.Config.All() {
		if p.Mode != policy.Shared {
			continue
		}
		c, err := h.container(p)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// container is the container of p on this host.
func (h Host) container(p policy.Policy) (Container, error) {
	var err error
	if p.Sources, err = h.Dirs.Sources(p); err != nil {
		return Container{}, err
	}
	dir := h.Dirs.Dir(p)
	return Container{Policy: p, Engine: h.Engine, Keeper: control.At(dir), Socket: hostfiles.Socket(dir), Out: h.Out, Err: h.Err}, nil
}

// Each calls do with each shared container, and goes on where one fails.
func (h Host) Each(do func(Container) error) error {
	list, err := h.Shared()
	for _, c := range list {
		err = errors.Join(err, do(c))
	}
	return err
}

// CheckUserProfiles fails if a profile of mode user has no image, which it pulls if the profile says so: no login
// should have to.
func (h Host) CheckUserProfiles(ctx context.Context) error {
	var err error
	for _, p := range h.Config.All() {
		if p.Mode != policy.PerUser {
			continue
		}
		if ierr := h.Engine.EnsureImage(ctx, p); ierr != nil {
			err = errors.Join(err, fmt.Errorf("profile %s: %w", p.Profile, ierr))
		}
	}
	return err
}

// UserStatus is the state of one user's container.
type UserStatus struct {
	Profile   string `json:"profile"`
	Container string `json:"container"`
	User      string `json:"user"`
	UID       uint32 `json:"uid"`
	Status    string `json:"status"`
	Sessions  int    `json:"sessions"`
	// Outdated says which settings have changed in berth.toml since it was made, its image
	// included: the user's next container will have them.
	Outdated []string `json:"outdated,omitempty"`
}

// Report is the JSON of `berth status`.
type Report struct {
	Logins  bool   `json:"logins"` // work in every shared container
	Why     string `json:"why,omitempty"`
	Drained string `json:"drained,omitempty"` // what users are told who may not log in now
	Engine  string `json:"engine,omitempty"`  // its version
	// EngineError is why the engine does not say more.
	EngineError string       `json:"engine_error,omitempty"`
	Notes       []string     `json:"notes,omitempty"`
	Containers  []Status     `json:"containers"`
	Users       []UserStatus `json:"users,omitempty"`
}

// Status finds out the state of all containers; more are notes of other checks. Its error is why logins would fail.
func (h Host) Status(ctx context.Context, more []hostfiles.Note) (Report, error) {
	r := Report{Containers: []Status{}} // JSON has a list even of none
	list, err := h.Shared()
	if err != nil {
		return r, err
	}
	for _, c := range list {
		s := c.Status(ctx)
		r.Containers = append(r.Containers, s)
	}
	if drained := (*loginerror.Refusal)(nil); errors.As(drain.Check(h.Dirs.DrainFile()), &drained) {
		r.Drained = drained.User
	}
	notes := append(h.Dirs.CheckPrograms(h.Config.Base), more...)
	if r.Engine, err = h.Engine.Version(ctx); err == nil {
		r.Users, err = h.userStatus(ctx)
	}
	if err != nil {
		r.EngineError = err.Error()
		if slices.ContainsFunc(h.Config.All(), func(p policy.Policy) bool { return p.Mode == policy.PerUser }) {
			notes = append(notes, hostfiles.Note{Text: "users who have no container yet cannot log in: " + err.Error()})
		}
	}
	return r, r.judge(notes)
}

// judge takes the notes in, and says whether logins work.
func (r *Report) judge(notes []hostfiles.Note) error {
	var reason error
	for _, s := range r.Containers {
		if !s.Logins && reason == nil {
			reason = fmt.Errorf("%s: %s", s.Container, s.Why)
		}
	}
	for _, note := range notes {
		r.Notes = append(r.Notes, note.Text)
		if !note.Fatal {
			continue
		}
		if reason == nil {
			reason = errors.New(note.Text)
		}
		for i := range r.Containers {
			s := &r.Containers[i]
			if s.Logins && (len(note.Profiles) == 0 || slices.Contains(note.Profiles, s.Profile)) {
				s.Logins, s.Why = false, note.Text
			}
		}
	}
	if r.Logins = reason == nil; !r.Logins {
		r.Why = reason.Error()
	}
	return reason
}

// userStatus finds out how the containers of mode user are.
func (h Host) userStatus(ctx context.Context) ([]UserStatus, error) {
	found, err := h.Engine.ListUsers(ctx, h.Dirs.ProfilesSource())
	if err != nil {
		return nil, err
	}
	var all []UserStatus
	for _, f := range found {
		s := UserStatus{Profile: f.Profile, Container: f.Name, User: f.User, UID: f.UID, Status: f.Status}
		if count, err := control.At(h.Dirs.ContainerDir(f.Profile, f.Name)).Count(); err == nil {
			s.Sessions = count.Sessions
		}
		if f.Status == "running" {
			s.Outdated = h.outdated(ctx, f)
		}
		all = append(all, s)
	}
	return all, nil
}

// outdated names what a container of the user's would have otherwise if it were made now.
func (h Host) outdated(ctx context.Context, f engine.UserContainer) []string {
	p, err := h.decide(f.UID)
	if err != nil {
		return []string{err.Error()}
	}
	if p.Profile != f.Profile || p.Container.Name != f.Name {
		return []string{"profile"}
	}
	c, err := h.container(p)
	if err != nil {
		return []string{err.Error()}
	}
	state, err := h.Engine.Inspect(ctx, c.Policy)
	if err != nil {
		return []string{err.Error()}
	}
	var keys []string
	for _, d := range state.Differences {
		keys = append(keys, d.Key)
	}
	return keys
}

// Write prints the report for a person; config is where the policy was read.
func (r Report) Write(w io.Writer, config string, socket string) {
	liveRestore := ""
	if len(r.Containers) > 0 && r.Containers[0].Engine != "" {
		liveRestore = fmt.Sprintf(", live-restore %t", r.Containers[0].LiveRestore)
	}
	fmt.Fprintf(w, "engine      %s at %s%s\nconfigured  in %s\n", cmp.Or(r.EngineError, r.Engine), socket, liveRestore, config)
	if r.Drained != "" {
		fmt.Fprintf(w, "drained     no session begins; users read: %s\n", r.Drained)
	}
	for _, s := range r.Containers {
		s.Write(w)
	}
	for _, u := range r.Users {
		fmt.Fprintf(w, "user        %s: %s, %s, %s", u.User, u.Container, u.Status, Sessions(u.Sessions))
		if len(u.Outdated) > 0 {
			fmt.Fprintf(w, "; the next one will differ: %s", strings.Join(u.Outdated, ", "))
		}
		fmt.Fprintln(w)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note        %s\n", note)
	}
}

// Sessions is a number of sessions, as a person says it.
func Sessions(n int) string {
	if n == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", n)
}

// DownUsers removes the containers of mode user, and ends the sessions in them.
func (h Host) DownUsers(ctx context.Context) error {
	found, err := h.Engine.ListUsers(ctx, h.Dirs.ProfilesSource())
	for _, f := range found {
		if rerr := h.Engine.Remove(ctx, f.Name); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		fmt.Fprintf(h.Out, "%s is gone\n", f.Name)
	}
	return err
}

// Running lists the containers that run, by the directories that they share with this host: the engine may
// be away.
func (h Host) Running() ([]sessions.Container, error) {
	dirs, err := h.Dirs.ContainerDirs()
	var all []sessions.Container
	for _, dir := range dirs {
		keeper := control.At(dir)
		_, cerr := keeper.Count()
		switch {
		case errors.Is(cerr, control.ErrNoKeeper):
		case cerr != nil:
			err = errors.Join(err, fmt.Errorf("%s: %w", filepath.Base(dir), cerr))
		default:
			all = append(all, sessions.Container{Profile: filepath.Base(filepath.Dir(dir)), Name: filepath.Base(dir), Keeper: keeper})
		}
	}
	return all, err
}

// Sessions lists the open sessions.
func (h Host) Sessions() ([]sessions.Session, error) {
	running, err := h.Running()
	all, lerr := sessions.List(running, h.Dirs.Sessions, h.userName)
	return all, errors.Join(err, lerr)
}

// userName is what the account of uid is called, as far as PAM has recorded it.
func (h Host) userName(uid uint32) string {
	known, err := record.Read(h.Dirs.Names, uid)
	if err != nil {
		return strconv.FormatUint(uint64(uid), 10)
	}
	return known.User
}

// Drain lets no session begin any more, and says words to the users who have one; or it lets them begin
// again.
func (h Host) Drain(drained bool, words string) error {
	if err := control.CheckWords(words); err != nil {
		return err
	}
	if err := h.Dirs.Drain(drained, words); err != nil || !drained {
		return err
	}
	running, err := h.Running()
	for _, c := range running {
		err = errors.Join(err, c.Keeper.Tell(cmp.Or(words, drain.DefaultWords)))
	}
	return err
}
