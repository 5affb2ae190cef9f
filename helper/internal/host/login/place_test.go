// SPDX-License-Identifier: Apache-2.0

package login

import (
	"errors"
	"testing"

	"berth/helper/internal/link/loginerror"
	"berth/helper/internal/policy"
)

// Only a link of the exact form means a container.
func TestPlace(t *testing.T) {
	p, err := parsePlace("../profiles/students/berth-students-1001")
	if err != nil || p != (Place{"students", "berth-students-1001"}) || p.Socket() != "/var/lib/berth/profiles/students/berth-students-1001/socket" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, target := range []string{"", "x", "/etc", "../profiles", "../profiles/a", "../profiles/a/", "../profiles//b", "../profiles/a/b/c", "../profiles/../b",
		"../profiles/a/..", "../../profiles/a/b", "/var/lib/berth/profiles/a/b"} {
		if p, err := parsePlace(target); !errors.Is(err, loginerror.ErrNoContainer) {
			t.Errorf("%q: %+v, %v", target, p, err)
		}
	}
}

// A profile that is gone is no container of anybody's.
func TestPolicyOfPlace(t *testing.T) {
	c, err := policy.Parse([]byte("[profile.a]\ngroups = ['g']\n[profile.a.session]\nshell = '/bin/a'\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := (Place{"a", "berth-a"}).policy(c, nil); err != nil || p.Session.Shell != "/bin/a" || p.Container.Name != "berth-a" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := (Place{"gone", "x"}).policy(c, nil); loginerror.Of(err, "").User != "your container belongs to a profile that is gone; connect again" {
		t.Errorf("%v", err)
	}
	if _, err := (Place{}).policy(c, loginerror.ErrNoContainer); !errors.Is(err, loginerror.ErrNoContainer) {
		t.Errorf("%v", err)
	}
}
