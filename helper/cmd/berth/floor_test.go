// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestFloor(t *testing.T) {
	for release, old := range map[string]bool{"5.10.0-30-amd64": true, "4.18.0": true, "5.11.0": false, "5.9": true, "6.1.0-18-amd64": false, "10.0": false, "odd": false} {
		if got := kernelTooOld(release); (got != "") != old || old && !strings.Contains(got, "Linux "+release+"; berth needs 5.11 or newer") {
			t.Errorf("%s: %q", release, got)
		}
	}
	for said, old := range map[string]bool{
		"unknown option -- V\nOpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026\nusage: sshd ...": false,
		"OpenSSH_10.0p2, OpenSSL 3.5.0": false, "OpenSSH_8.9p1 Ubuntu-3": true, "OpenSSH_9.1p1": true, "OpenSSH_9.10p1": false, "": false,
	} {
		if got := sshdTooOld(said); (got != "") != old {
			t.Errorf("%q: %q", said, got)
		}
	}
	// Where the tests run, nothing is too old.
	if problems := hostTooOld(); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}
