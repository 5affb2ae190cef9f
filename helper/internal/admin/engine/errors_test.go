// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/helper/internal/link/loginerror"
)

// What engines say, word for word: 20.10 (Debian 12), and 28, of which moby writes the
// names in lower case.
func TestEngineErrors(t *testing.T) {
	const id = "55d84a51897a3f1e9c3f0d6e8a6f4b7c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a"
	for _, c := range []struct {
		status int
		text   string
		want   error // nil: none of ours
	}{
		{http.StatusNotFound, "No such container: berth", loginerror.ErrNoContainer},
		{http.StatusNotFound, "No such image: berth:latest", loginerror.ErrNoImage},
		{http.StatusNotFound, "No such exec instance: " + id, nil},
		{http.StatusConflict, "Container " + id + " is not running", loginerror.ErrNotRunning},
		{http.StatusConflict, "container " + id + " is not running", loginerror.ErrNotRunning},
		{http.StatusConflict, "Container " + id + " is restarting, wait until the container is running", loginerror.ErrNotRunning},
		{http.StatusConflict, "Container " + id + " is paused, unpause the container before exec", loginerror.ErrPaused},
		{http.StatusConflict, "container " + id + " is paused, unpause the container before exec", loginerror.ErrPaused},
		{http.StatusBadRequest, `OCI runtime exec failed: exec failed: unable to start container process: exec: "/usr/libexec/berth/berth-guest": ` +
			`stat /usr/libexec/berth/berth-guest: no such file or directory: unknown`, loginerror.ErrNoGuest},
		{http.StatusInternalServerError, `OCI runtime exec failed: exec failed: container_linux.go:380: starting container process caused: ` +
			`exec: "berth-guest": executable file not found in $PATH: unknown`, loginerror.ErrNoGuest},
		{http.StatusConflict, `Conflict. The container name "/berth" is already in use by container "` + id + `".`, nil},
		{http.StatusInternalServerError, "OCI runtime exec failed: exec failed: unable to start container process: error adding pid 7 to cgroups: unknown", nil},
	} {
		e := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/_ping") {
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(c.status)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": c.text})
		})
		checkError(t, e.Enter(t.Context(), "berth", false, []string{"x"}), c.want, c.text)
	}
}

// An engine that does not answer, whatever keeps it from that.
func TestEngineAway(t *testing.T) {
	late, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	hangs := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	checkError(t, hangs.Enter(late, "berth", false, []string{"x"}), loginerror.ErrUnreachable, "")
	checkError(t, hangs.Enter(late, "berth", false, []string{"x"}), context.DeadlineExceeded, "")
	none, err := Open(filepath.Join(t.TempDir(), "none"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	checkError(t, none.Enter(t.Context(), "berth", false, []string{"x"}), loginerror.ErrUnreachable, "")
	drops := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	if err := drops.Enter(t.Context(), "berth", false, []string{"x"}); err == nil {
		t.Error("an engine that hangs up started something")
	}
}

// The engine of this machine says what the table above has.
func TestErrorsOfThisEngine(t *testing.T) {
	name := fmt.Sprintf("berth-errors-%d", time.Now().UnixNano())
	docker := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %q: %v: %s", args, err, out)
		}
	}
	e, err := Open("/run/docker.sock", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	enter := func(program string) error { return e.Enter(t.Context(), name, false, []string{program}) }
	checkError(t, enter("/bin/true"), loginerror.ErrNoContainer, name)
	docker("run", "-d", "--network", "none", "--name", name, "--entrypoint", "sleep", "berth:busybox", "600")
	defer docker("rm", "-f", name)
	if err := enter("/bin/true"); err != nil { // the positive control
		t.Error(err)
	}
	checkError(t, enter("/none/berth-guest"), loginerror.ErrNoGuest, "")
	docker("pause", name)
	checkError(t, enter("/bin/true"), loginerror.ErrPaused, "")
	docker("unpause", name)
	docker("kill", name)
	docker("wait", name)
	checkError(t, enter("/bin/true"), loginerror.ErrNotRunning, "")
	if err := e.Enter(t.Context(), name, true, []string{"/bin/true"}); err != nil {
		t.Errorf("a stopped container is healed: %v", err)
	}
}

// answering is a client of an engine that answers with handler.
func answering(t *testing.T, handler http.HandlerFunc) *Engine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	e, err := Open(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); server.Close() })
	return e
}

// checkError fails unless err is of kind want and has the engine's text in it; with no
// kind it must be none of ours.
func checkError(t *testing.T, err, want error, text string) {
	t.Helper()
	switch ours := (*loginerror.Refusal)(nil); {
	case err == nil:
		t.Errorf("%q: no error", text)
	case want == nil && errors.As(err, &ours), want != nil && !errors.Is(err, want), !strings.Contains(err.Error(), text):
		t.Errorf("%q: %v; it should be: %v", text, err, want)
	}
}
