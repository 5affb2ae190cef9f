// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"berth/helper/internal/link/paths"
)

// What a value of [container] must be, where that is more than its kind (keys.go).

var networkName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`) })

// checkNetwork refuses the host's own network.
func checkNetwork(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", errText
	}
	if s == "host" || !networkName().MatchString(s) {
		return "", errors.New("must be none, bridge or the name of a network; not the host's or another container's")
	}
	return s, nil
}

// allowedCapabilities are the capabilities that a policy may leave to container root,
// which is berth's own processes alone. Those that reach the host's kernel, devices, files
// or other processes are not among them (capabilities(7)).
var allowedCapabilities = []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID",
	"KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID"}

func checkCapabilities(v any) ([]string, error) {
	list, ok := stringList(v)
	if !ok {
		return nil, errors.New("must be a list of strings")
	}
	for i := range list {
		list[i] = strings.TrimPrefix(strings.ToUpper(list[i]), "CAP_")
		if !slices.Contains(allowedCapabilities, list[i]) {
			return nil, fmt.Errorf("may hold only %s", strings.Join(allowedCapabilities, ", "))
		}
	}
	slices.Sort(list)
	if !slices.Contains(list, "SETUID") || !slices.Contains(list, "SETGID") || !slices.Contains(list, "KILL") {
		return nil, errors.New("must hold SETUID and SETGID, without which nobody becomes a user, " +
			"and KILL, without which nothing of a session is ended")
	}
	return slices.Compact(list), nil
}

func checkSeccomp(v any) (string, error) {
	s, ok := v.(string)
	if !ok || s != OwnSeccomp && s != EngineSeccomp && !isCleanPath(s) {
		return "", errors.New(`must be "berth", "engine" or the path of a profile`)
	}
	return s, nil
}

var appArmorName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9/][a-zA-Z0-9_./+-]{0,127}$`) })

func checkAppArmor(v any) (string, error) {
	s, ok := v.(string)
	if !ok || s == "unconfined" || !appArmorName().MatchString(s) {
		return "", errors.New("must be the name of a loaded profile, which unconfined is not")
	}
	return s, nil
}

// checkDNS keeps the order: the first server is asked first.
func checkDNS(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errDNS
	}
	servers := []string{}
	for _, item := range list {
		s, _ := item.(string)
		address, err := netip.ParseAddr(s)
		if err != nil || address.Zone() != "" {
			return nil, errDNS
		}
		servers = append(servers, address.String())
	}
	return servers, nil
}

var errDNS = errors.New("must be a list of IP addresses")

// maxCPUs is more than Linux runs on.
const maxCPUs = 8192

func checkCPUs(v any) (*float64, error) {
	n, ok := v.(float64)
	if whole, isWhole := v.(int64); isWhole {
		n, ok = float64(whole), true
	}
	// Written so that NaN is refused.
	if !ok || n != 0 && !(n >= 0.01 && n <= maxCPUs) {
		return nil, fmt.Errorf("must be a number from 0.01 to %d, such as 1.5, or 0 for no limit", maxCPUs)
	}
	return &n, nil
}

func showCPUs(n *float64) any {
	if n == nil {
		return nil
	}
	return *n
}

var tmpfsOptions = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_=,]*$`) })

func checkTmpfs(v any) (map[string]string, error) {
	table, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("must be a table of paths and mount options")
	}
	set := map[string]string{}
	for target, options := range table {
		s, ok := options.(string)
		if !ok || !isCleanPath(target) || target == "/" || !tmpfsOptions().MatchString(s) || !strings.Contains(s, "size=") {
			return nil, errors.New("must hold absolute paths, each with mount options that give a size")
		}
		if _, ok := size(sizeOption(s)); !ok {
			return nil, errors.New("must give sizes such as size=256m")
		}
		set[target] = s
	}
	if set["/run"] == "" {
		return nil, errors.New("must hold /run, where berth keeps the names of a session's users")
	}
	return set, nil
}

// sizeOption is the value of the option size of a tmpfs.
func sizeOption(options string) string {
	for _, option := range strings.Split(options, ",") {
		if value, found := strings.CutPrefix(option, "size="); found {
			return value
		}
	}
	return ""
}

// hostDirs are directories of the host that may not be mounted, nor anything above or
// below them: who can write there owns the host.
var hostDirs = []string{"/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/usr",
	"/var/lib/berth", "/var/lib/containerd", "/var/lib/docker", "/var/run"}

// covers reports whether a is b or a directory above it.
func covers(a, b string) bool {
	return a == b || a == "/" || strings.HasPrefix(b, a+"/")
}

func checkMounts(v any) ([]Mount, error) {
	// The decoder has a type of its own for a list of tables.
	list, ok := v.([]map[string]any)
	if !ok {
		return nil, errors.New("must be [[container.mount]] tables")
	}
	var mounts []Mount
	for i, table := range list {
		m := Mount{}
		for key, value := range table {
			var ok bool
			switch key {
			case "source":
				m.Source, ok = value.(string)
			case "target":
				m.Target, ok = value.(string)
			case "read_only":
				m.ReadOnly, ok = value.(bool)
			case "propagation":
				if m.Propagation, ok = value.(string); ok && m.Propagation != Private && m.Propagation != Slave {
					return nil, fmt.Errorf("number %d: propagation must be %s or %s", i+1, Private, Slave)
				}
			default:
				return nil, fmt.Errorf("number %d: a mount has no key %s", i+1, key)
			}
			if !ok {
				return nil, fmt.Errorf("number %d: %s has the wrong type", i+1, key)
			}
		}
		if m.Target == "" {
			m.Target = m.Source
		}
		// What a user's names make of it is checked when they are known (ForUser).
		example := Person{Name: "u", UID: 1000, GID: 1000, Home: "/home/u"}.places()
		if !hasPlaces(m.Source) || !hasPlaces(m.Target) {
			return nil, fmt.Errorf("number %d: a %% in a path is followed by u, h, U, G or %%", i+1)
		}
		if err := checkMount(Mount{Source: example.Replace(m.Source), Target: example.Replace(m.Target)}); err != nil {
			return nil, fmt.Errorf("number %d: %w", i+1, err)
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// checkMount refuses what no mount may have as its source or target.
func checkMount(m Mount) error {
	if !isCleanPath(m.Source) || !isCleanPath(m.Target) || m.Target == "/" {
		return fmt.Errorf("source and target %w", errPath)
	}
	for _, dir := range hostDirs {
		if covers(m.Source, dir) || covers(dir, m.Source) {
			return fmt.Errorf("source holds or is in %s, which is the host's dir", dir)
		}
	}
	for _, own := range []string{paths.Guest, "/run/berth", "/proc", "/sys", "/dev"} {
		if covers(m.Target, own) || covers(own, m.Target) {
			return fmt.Errorf("target would cover %s", own)
		}
	}
	return nil
}

func showMounts(list []Mount) any {
	mounts := []map[string]any{}
	for _, m := range list {
		entry := map[string]any{"source": m.Source, "target": m.Target, "read_only": m.ReadOnly}
		if m.Propagation != "" {
			entry["propagation"] = m.Propagation
		}
		mounts = append(mounts, entry)
	}
	return mounts
}

// checkMemory reads a size in bytes with k, m or g behind it, as the engine does.
func checkMemory(v any) (int64, error) {
	s, ok := v.(string)
	if !ok {
		return 0, errors.New(`must be a size such as "2g", or "0" for no limit`)
	}
	n, ok := size(s)
	if !ok || n != 0 && n < 16<<20 {
		return 0, errors.New(`must be a size such as "2g" of at least "16m", or "0" for no limit`)
	}
	return n, nil
}

// checkShmSize reads a size as checkMemory does. Programs that share memory fail without any.
func checkShmSize(v any) (int64, error) {
	s, _ := v.(string)
	n, ok := size(s)
	if !ok || n < 1<<20 {
		return 0, errors.New(`must be a size such as "64m" of at least "1m"`)
	}
	return n, nil
}

// size reads a number of bytes with k, m or g behind it.
func size(s string) (bytes int64, ok bool) {
	units := map[string]int64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
	digits := strings.TrimRight(s, "kmg")
	unit := int64(1)
	if suffix := s[len(digits):]; suffix != "" {
		unit = units[suffix]
	}
	n, err := strconv.ParseInt(digits, 10, 34)
	if err != nil || unit == 0 || n < 0 || n > 1<<45/unit {
		return 0, false
	}
	return n * unit, true
}

func showSize(n int64) any {
	unit := ""
	for _, larger := range []string{"k", "m", "g"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return strconv.FormatInt(n, 10) + unit
}
