// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"berth/helper/internal/policy"
)

// ownProfile is berth's own seccomp profile. It is installed as well, for the printed
// `docker run`, and for administrators to start from.
//
//go:embed seccomp.json
var ownProfile []byte

const installedProfile = "/usr/share/berth/seccomp.json"

// Options of --security-opt that a key decides.
const (
	seccompOption  = "seccomp="
	appArmorOption = "apparmor="
)

// compact returns a profile as the API has it, without white space.
func compact(profile []byte) (string, error) {
	var text bytes.Buffer
	err := json.Compact(&text, profile)
	return text.String(), err
}

var ownOption = sync.OnceValue(func() string {
	text, err := compact(ownProfile)
	if err != nil {
		panic(err) // TestOwnProfile
	}
	return text
})

// applySeccomp adds the profile; the engine's own needs no option.
func applySeccomp(p policy.Policy, d *description) {
	profile := ""
	switch path := p.Container.Seccomp; path {
	case policy.EngineSeccomp:
		return
	case policy.OwnSeccomp:
		// On others clone(2) has its arguments in another order, or calls have other names.
		if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
			d.err = fmt.Errorf("container.seccomp: berth's own profile is for amd64 and arm64 alone: choose %q", policy.EngineSeccomp)
			return
		}
		profile = ownOption()
	default:
		text, err := os.ReadFile(path)
		if err != nil {
			d.err = fmt.Errorf("container.seccomp: %w", err)
			return
		}
		if profile, err = compact(text); err != nil {
			d.err = fmt.Errorf("container.seccomp: %s is not JSON: %w", path, err)
			return
		}
	}
	d.host.SecurityOpt = append(d.host.SecurityOpt, seccompOption+profile)
}

// profileName names a profile for a person, who cannot compare two of them by eye.
func profileName(profile string) string {
	switch profile {
	case "":
		return policy.EngineSeccomp
	case ownOption():
		return policy.OwnSeccomp
	case "unconfined":
		return profile
	}
	return fmt.Sprintf("another profile, with SHA-256 %.12x", sha256.Sum256([]byte(profile)))
}

// appArmorState says Y where the kernel obeys AppArmor.
var appArmorState = "/sys/module/apparmor/parameters/enabled"

// applyAppArmor fails where there is no AppArmor: the engine would not mind, and confine
// nobody.
func applyAppArmor(p policy.Policy, d *description) {
	if p.Container.AppArmor == "" {
		return
	}
	if state, err := os.ReadFile(appArmorState); err != nil || strings.TrimSpace(string(state)) != "Y" {
		d.err = fmt.Errorf("container.apparmor: AppArmor is not in force on this host (%s)", appArmorState)
		return
	}
	d.host.SecurityOpt = append(d.host.SecurityOpt, appArmorOption+p.Container.AppArmor)
}

// securityOption returns the value of an option of --security-opt; empty: it has none.
func securityOption(d description, name string) string {
	for _, option := range d.host.SecurityOpt {
		if value, found := strings.CutPrefix(option, name); found {
			return value
		}
	}
	return ""
}
