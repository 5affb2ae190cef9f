// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"berth/test/labs"
)

// What the engine was asked for is in force in the container.
func TestContainerSettings(t *testing.T) {
	l := newLab(t, "[container]\nshm_size = \"5m\"\ncpus = 0.5\ncpu_weight = 30\ndns = [\"192.0.2.7\", \"192.0.2.1\"]\n")
	const look = "df -k --output=size /dev/shm | tail -1; cd /sys/fs/cgroup; " +
		"cat cpu/cpu.cfs_quota_us cpu/cpu.shares 2>/dev/null || cat cpu.max cpu.weight; grep ^nameserver /etc/resolv.conf"
	got := strings.Join(strings.Fields(l.run(t, "alice", look)), " ")
	const v1, v2, servers = "5120 50000 763", "5120 50000 100000 30", " nameserver 192.0.2.7 nameserver 192.0.2.1"
	if got != v1+servers && got != v2+servers {
		t.Errorf("%s", got)
	}
	// By default the host keeps some time for itself.
	const quotaFile = "nproc; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
	out := strings.Fields(lab.run(t, "alice", quotaFile))
	var processors, quota float64
	if _, err := fmt.Sscan(strings.Join(out, " "), &processors, &quota); err != nil || quota >= processors*100000 || quota < processors*90000 {
		t.Errorf("%q, %v", out, err)
	}
	l.Exec(t, "sed", "-i", "s/^cpus = .*/cpus = 9999/", "/etc/berth/berth.toml")
	if r := l.Try("berth", "up"); r.Status == 0 || !strings.Contains(r.Err, "container.cpus: must be a number from 0.01 to 8192") {
		t.Errorf("%+v", r)
	}
}

// Another runtime than the engine's own starts the container, and sessions in it are the same.
func TestOtherRuntime(t *testing.T) {
	crun, err := exec.LookPath("crun")
	if err != nil {
		t.Fatal(err)
	}
	e := labs.NewEngine(t, fmt.Sprintf(`{"runtimes": {"crun": {"path": %q}}}`, crun))
	for _, transport := range transports() {
		l := newLab(t, fmt.Sprintf("transport = %q\n[engine]\nsocket = %q\n"+
			"[container]\nimage = \"berth:busybox\"\nruntime = \"crun\"\n", transport, e.Socket))
		const look = "id -un; stat -c %u .; grep -E '^(Seccomp|CapBnd|NoNewPrivs):' /proc/self/status | tr -d '\\t'; ls -d /proc/1"
		r := finish(l.SSH("alice", look))
		if want := fmt.Sprintf("alice\n%s\nCapBnd:00000000000000e0\nNoNewPrivs:1\nSeccomp:2\n", l.UID(t, "alice")); r.Out != want {
			t.Errorf("%s: %+v, want %q", transport, r, want)
		}
		out, err := exec.Command("docker", "-H", "unix://"+e.Socket, "inspect", "-f", "{{.HostConfig.Runtime}}", l.ContainerOf(t, "alice")).CombinedOutput()
		if err != nil || string(out) != "crun\n" {
			t.Errorf("%s, %v", out, err)
		}
		l.Exec(t, "sed", "-i", "/^runtime = /d", "/etc/berth/berth.toml")
		if userMode {
			continue // `berth up` has no container that could differ
		}
		if r := l.Try("berth", "up"); r.Status != 1 || !strings.Contains(r.Out, `runtime: is "crun", should be "runc"`) {
			t.Errorf("without the key: %+v", r)
		}
	}
}

// registry is a registry that has the image berth:busybox, by any name.
func registry(t *testing.T) *httptest.Server {
	t.Helper()
	saved, err := exec.Command("docker", "save", "berth:busybox").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(bytes.NewReader(saved)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
	var list []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &list); err != nil || len(list) != 1 {
		t.Fatalf("%v: %s", err, files["manifest.json"])
	}
	blobs := map[string][]byte{}
	type part struct {
		MediaType string `json:"mediaType"`
		Size      int    `json:"size"`
		Digest    string `json:"digest"`
	}
	add := func(mediaType, name string) part {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(files[name]))
		blobs[digest] = files[name]
		return part{mediaType, len(files[name]), digest}
	}
	const manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := map[string]any{"schemaVersion": 2, "mediaType": manifestType,
		"config": add("application/vnd.docker.container.image.v1+json", list[0].Config)}
	var layers []part
	for _, layer := range list[0].Layers {
		layers = append(layers, add("application/vnd.docker.image.rootfs.diff.tar.gzip", layer))
	}
	manifest["layers"] = layers
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch {
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", manifestType)
			w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(text)))
			_, _ = w.Write(text)
		case blobs[name] != nil:
			_, _ = w.Write(blobs[name])
		case r.URL.Path != "/v2/":
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// The image is pulled if berth.toml says so, and only by `berth up`. One that cannot be had leaves the
// old container as it is.
func TestImageIsPulled(t *testing.T) {
	image := strings.TrimPrefix(registry(t).URL, "http://") + "/berth:pulled"
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", image).Run() })
	l := newLab(t, "")
	set := func(image, pull string) {
		t.Helper()
		l.Exec(t, "sed", "-i", "-E", `/^(image|pull) = /d; s|^\[container\]|&\nimage = "`+image+`"\npull = "`+pull+`"|`, "/etc/berth/berth.toml")
	}
	set(image, "never")
	if r := l.Try("berth", "up", "--recreate"); r.Status == 0 || !strings.Contains(r.Err, "there is no such image") {
		t.Errorf("never: %+v", r)
	}
	if r := finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("the old container: %+v", r)
	}
	set(image, "missing")
	if out := l.Exec(t, "berth", "up", "--recreate"); !strings.Contains(out, "is created and runs") {
		t.Errorf("missing: %s", out)
	}
	if r := finish(l.SSH("alice", "id -un; readlink /bin/ls")); r.Out != "alice\n/bin/busybox\n" {
		t.Errorf("alice: %+v", r)
	}
	set(strings.Replace(image, "pulled", "x@sha256:"+strings.Repeat("0", 64), 1), "missing")
	if r := l.Try("berth", "up", "--recreate"); r.Status == 0 || !strings.Contains(r.Err, "pull the image") {
		t.Errorf("none: %+v", r)
	}
	if r := finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("the container of before: %+v", r)
	}
}
