// SPDX-License-Identifier: Apache-2.0

package life

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/labs"
)

// proxy stands before the machine's engine, and does wrong what fault does: it reports whether it has answered.
type proxy struct {
	socket string
	mu     sync.Mutex
	fault  func(w http.ResponseWriter, r *http.Request) bool
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-proxy")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{socket: filepath.Join(dir, "docker.sock")}
	listener, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroup("docker")
	if err != nil {
		t.Fatal(err)
	}
	gid, _ := strconv.Atoi(group.Gid)
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chown(p.socket, 0, gid), os.Chmod(p.socket, 0o660)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	engine := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine" },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", "/run/docker.sock")
		}},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}, // who asked has gone
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fault := p.fault
		p.mu.Unlock()
		if fault == nil || !fault(w, r) {
			engine.ServeHTTP(w, r)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = os.RemoveAll(dir)
	})
	return p
}

func (p *proxy) set(fault func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// count counts the requests from now on whose path ends so.
func (p *proxy) count(end string) func() int {
	n := 0
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if strings.HasSuffix(r.URL.Path, end) {
			n++
		}
		return false
	})
	return func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return n
	}
}

// first is a fault in the first n answers to what has the method, and a path that ends so.
func first(n int, method, end string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if n == 0 || r.Method != method || !strings.HasSuffix(r.URL.Path, end) {
			return false
		}
		n--
		answer(w, r)
		return true
	}
}

func says(status int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if message != "" {
			_, _ = w.Write([]byte(`{"message":"` + message + `"}`))
		}
	}
}

// The old container is still going away while the new one is made, and the engine says what is no
// longer, or not yet, true.
func TestOldContainerStillGoes(t *testing.T) {
	p := newProxy(t)
	l := begin(t, p.socket, "", "")
	name := l.container(t, "alice")
	for what, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"its start is answered as one too many":  first(2, "POST", "/start", says(http.StatusNotModified, "")),
		"its start is answered, and not done":    first(2, "POST", "/start", says(http.StatusNoContent, "")),
		"the name is taken":                      first(3, "POST", "/containers/create", says(http.StatusConflict, "Conflict. The container name is already in use")),
		"it is being removed":                    first(3, "DELETE", name, says(http.StatusConflict, "removal of container is already in progress")),
		"it is said to run, and nobody serves":   nil,
		"its removal is said to be that of none": first(1, "DELETE", "", says(http.StatusNotFound, "No such container: x")),
	} {
		t.Run(what, func(t *testing.T) {
			l.works(t, "alice")
			before := l.engine(t, "inspect", "-f", "{{.Id}}", name)
			if fault == nil {
				// The keeper has gone, and the engine's record of it has not.
				inspected := 0
				fault = func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != "GET" || !strings.HasSuffix(r.URL.Path, "/containers/"+name+"/json") || inspected > 20 {
						return false
					}
					inspected++
					says(http.StatusOK, "")(w, r)
					_, _ = w.Write([]byte(`{"Id":"` + before + `","State":{"Status":"running","Running":true},"Config":{"Labels":{"berth.mode":"user","berth.uid":"` + l.uid(t, "alice") + `"}}}`))
					return true
				}
			}
			l.engine(t, "kill", name)
			p.set(fault)
			l.works(t, "alice")
			p.set(nil)
			if after := l.engine(t, "inspect", "-f", "{{.Id}}", name); after == before {
				t.Error("it is the container of before")
			}
		})
	}
}

// An engine that is silent, slow or talks nonsense holds up the login that needs it, at most as long as berth.toml says, and no
// other.
func TestEngineFails(t *testing.T) {
	const timeout, slack = 3 * time.Second, 6 * time.Second
	p := newProxy(t)
	l := begin(t, p.socket, "", "timeout = \"3s\"\n")
	l.works(t, "alice", "bob", "admin")
	end := make(chan struct{})
	silent := func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-end:
		case <-r.Context().Done():
		}
		return true
	}
	for what, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"silent": silent,
		"silent once asked for a container": func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/containers/create") && silent(w, r)
		},
		"silent at the start": func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/start") && silent(w, r)
		},
		"nonsense": func(w http.ResponseWriter, r *http.Request) bool {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 200 \x00\r\n\r\n}}{{\x1b[31m"))
				_ = conn.Close()
			}
			return true
		},
		"nonsense in its answers": func(w http.ResponseWriter, r *http.Request) bool {
			says(http.StatusOK, "")(w, r)
			_, _ = w.Write([]byte("[\x1b[31m"))
			return true
		},
		"errors": func(w http.ResponseWriter, r *http.Request) bool {
			says(http.StatusInternalServerError, "oops")(w, r)
			return true
		},
		"no space": first(-1, "POST", "/containers/create", says(http.StatusInternalServerError, "no space left on device")),
	} {
		t.Run(what, func(t *testing.T) {
			p.set(fault)
			defer p.set(nil)
			type result struct {
				labs.Result
				took time.Duration
			}
			results := make(chan result, 2)
			for range cap(results) { // of one user, who waits for herself
				go func() {
					start := time.Now()
					r := l.login("carol", "id -un")
					results <- result{r, time.Since(start)}
				}()
			}
			start := time.Now()
			for range 3 {
				l.works(t, "alice", "bob", "admin")
			}
			t.Logf("nine logins of others took %v", time.Since(start))
			for range cap(results) {
				r := <-results
				log := l.refused(t, r.Result, "your container does not run; connect again")
				if !strings.Contains(log, "prepare: berth: ") {
					t.Errorf("the log does not say why: %s", log)
				}
				if strings.Contains(log, "\x1b") {
					t.Errorf("the log has what the engine said: %q", log)
				}
				if r.took > timeout+slack {
					t.Errorf("it took %v", r.took)
				}
			}
		})
		l.works(t, "carol")
		l.remove(t, l.container(t, "carol"))
	}
	close(end)
}
