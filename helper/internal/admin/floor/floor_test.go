// SPDX-License-Identifier: Apache-2.0

package floor

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestFloor(t *testing.T) {
	for release, old := range map[string]bool{
		"5.10.0-30-amd64": true, "4.18.0": true, "5.11.0": false, "5.9": true, "6.1.0-18-amd64": false, "10.0": false, "odd": false,
	} {
		if got := checkKernel(release); (got != "") != old || old && !strings.Contains(got, "Linux "+release+"; berth needs 5.11 or newer") {
			t.Errorf("%s: %q", release, got)
		}
	}
	for output, old := range map[string]bool{
		"unknown option -- V\nOpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026\nusage: sshd ...": false,
		"OpenSSH_10.0p2, OpenSSL 3.5.0": false, "OpenSSH_8.9p1 Ubuntu-3": true, "OpenSSH_9.1p1": true, "OpenSSH_9.10p1": false, "": false,
	} {
		if got := checkSSHD(output); (got != "") != old {
			t.Errorf("%q: %q", output, got)
		}
	}
	// Where the tests run, nothing is too old.
	if problems := checkHost(); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

type engine struct {
	problem string
	err     error
}

func (e engine) CheckVersion(context.Context) (string, error) { return e.problem, e.err }

func TestEngine(t *testing.T) {
	away := errors.New("away")
	for _, c := range []struct {
		engine engine
		want   string
	}{{engine{}, ""}, {engine{problem: "old"}, "old"}, {engine{err: away}, "away"}} {
		if err := Check(t.Context(), c.engine); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%+v: %v", c.engine, err)
		}
	}
}
