// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"berth/helper/internal/fault"
	"berth/helper/internal/place"

	"github.com/docker/docker/api/types/container"
)

// Run starts berth-enter with args in a container, as container root, and
// returns its pid on the host. A container that lacks the program gets the one
// at guest.
func (e *Engine) Run(ctx context.Context, name, guest string, args ...string) (int, error) {
	argv := append([]string{place.Guest + "/berth-enter"}, args...)
	pid, err := e.start(ctx, name, argv)
	if errors.Is(err, fault.ErrNoGuest) {
		if err := e.bring(ctx, name, guest); err != nil {
			return 0, err
		}
		pid, err = e.start(ctx, name, argv)
	}
	return pid, err
}

func (e *Engine) start(ctx context.Context, name string, argv []string) (int, error) {
	id, err := e.exec(ctx, name, argv)
	if err != nil {
		return 0, err
	}
	for {
		state, err := e.api.ContainerExecInspect(ctx, id)
		switch {
		case err != nil:
			return 0, wrap("inspect the exec", err)
		case state.Pid > 0 && state.Running:
			return state.Pid, nil
		case state.ExitCode == 126 || state.ExitCode == 127:
			return 0, fmt.Errorf("start the exec: %w", fault.ErrNoGuest)
		case !state.Running && state.Pid > 0:
			return 0, fmt.Errorf("%q ended with status %d", argv, state.ExitCode)
		}
		select {
		case <-ctx.Done():
			return 0, wrap("inspect the exec", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// bring copies the program into the container, with its directories.
func (e *Engine) bring(ctx context.Context, name, guest string) error {
	program, err := os.ReadFile(guest)
	if err != nil {
		return fmt.Errorf("container.guest: %w", err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	path := strings.TrimPrefix(place.Guest, "/")
	for i := range path {
		if path[i] == '/' {
			err = errors.Join(err, w.WriteHeader(&tar.Header{Name: path[:i] + "/", Typeflag: tar.TypeDir, Mode: 0o755}))
		}
	}
	err = errors.Join(err, w.WriteHeader(&tar.Header{Name: path + "/", Typeflag: tar.TypeDir, Mode: 0o755}),
		w.WriteHeader(&tar.Header{Name: path + "/berth-enter", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}))
	if err == nil {
		_, err = w.Write(program)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if err := e.api.CopyToContainer(ctx, name, "/", &archive, container.CopyToContainerOptions{}); err != nil {
		return wrap("copy berth-enter into the container", err)
	}
	return nil
}
