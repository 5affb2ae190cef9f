// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"berth/helper/internal/link/paths"
)

var networkName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`) })

// setNetwork refuses what would give the host's own network away.
func setNetwork(p *Policy, v any) error {
	s, ok := v.(string)
	if !ok {
		return errText
	}
	if s == "host" || !networkName().MatchString(s) {
		return errors.New("must be none, bridge or the name of a network; not the host's or another container's")
	}
	p.Container.Network = s
	return nil
}

// grantable are the capabilities that a policy may leave to container root,
// which is berth's own processes alone. Those that reach the host's kernel, devices, files
// or other processes are not among them (capabilities(7)).
var grantable = []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID"}

func setCapabilities(p *Policy, v any) error {
	list, ok := stringsOf(v)
	if !ok {
		return errors.New("must be a list of strings")
	}
	for i := range list {
		list[i] = strings.TrimPrefix(strings.ToUpper(list[i]), "CAP_")
		if !slices.Contains(grantable, list[i]) {
			return fmt.Errorf("may hold only %s", strings.Join(grantable, ", "))
		}
	}
	slices.Sort(list)
	if !slices.Contains(list, "SETUID") || !slices.Contains(list, "SETGID") || !slices.Contains(list, "KILL") {
		return errors.New("must hold SETUID and SETGID, without which nobody becomes a user, and KILL, without which nothing of a session is ended")
	}
	p.Container.Capabilities = slices.Compact(list)
	return nil
}

func setSeccomp(p *Policy, v any) error {
	s, ok := v.(string)
	if !ok || s != "default" && !cleanPath(s) {
		return errors.New(`must be "default" or the path of a profile`)
	}
	p.Container.Seccomp = s
	return nil
}

var tmpfsOptions = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9=,]*$`) })

func setTmpfs(p *Policy, v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return errors.New("must be a table of paths and mount options")
	}
	set := map[string]string{}
	for target, options := range table {
		s, ok := options.(string)
		if !ok || !cleanPath(target) || target == "/" || !tmpfsOptions().MatchString(s) || !strings.Contains(s, "size=") {
			return errors.New("must hold absolute paths, each with mount options that give a size")
		}
		if _, ok := size(sizeOption(s)); !ok {
			return errors.New("must give sizes such as size=256m")
		}
		set[target] = s
	}
	if set["/run"] == "" {
		return errors.New("must hold /run, where berth keeps the names of a session's users")
	}
	p.Container.Tmpfs = set
	return nil
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

// InMemory is how much the container's users can put into memory that belongs to no
// process, in bytes.
func (c Container) InMemory() int64 {
	total := c.SharedMemory() + DevShm
	for _, options := range c.Tmpfs {
		n, _ := size(sizeOption(options))
		total += n
	}
	return total
}

// checkMemory refuses a container that files could fill: when its memory is short,
// processes are ended, and not the files.
func checkMemory(c Container) error {
	if most := c.Memory * 3 / 4; c.Memory > 0 && c.InMemory() > most {
		return fmt.Errorf("together with /dev/shm and shared memory may hold %d MiB, which is more than three quarters of container.memory: lower the sizes, or raise container.memory",
			c.InMemory()>>20)
	}
	return nil
}

// private are the places of the host from which nothing may be mounted: whoever
// holds them holds the host.
var private = []string{"/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/usr", "/var/lib/berth", "/var/lib/containerd", "/var/lib/docker", "/var/run"}

// covers reports whether a is b or a directory above it.
func covers(a, b string) bool {
	return a == b || a == "/" || strings.HasPrefix(b, a+"/")
}

func setMounts(p *Policy, v any) error {
	// The decoder has a type of its own for a list of tables.
	list, ok := v.([]map[string]any)
	if !ok {
		return errors.New("must be [[container.mount]] tables")
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
			default:
				return fmt.Errorf("number %d: %s is no key of a mount", i+1, key)
			}
			if !ok {
				return fmt.Errorf("number %d: %s has the wrong type", i+1, key)
			}
		}
		if m.Target == "" {
			m.Target = m.Source
		}
		if !cleanPath(m.Source) || !cleanPath(m.Target) || m.Target == "/" {
			return fmt.Errorf("number %d: source and target %w", i+1, errPath)
		}
		for _, own := range private {
			if covers(m.Source, own) || covers(own, m.Source) {
				return fmt.Errorf("number %d: source holds or is in %s, which is the host's own", i+1, own)
			}
		}
		for _, own := range []string{paths.Guest, "/run/berth", "/proc", "/sys", "/dev"} {
			if covers(m.Target, own) || covers(own, m.Target) {
				return fmt.Errorf("number %d: target would cover %s", i+1, own)
			}
		}
		mounts = append(mounts, m)
	}
	p.Container.Mounts = mounts
	return nil
}

func getMounts(p *Policy) any {
	mounts := []map[string]any{}
	for _, m := range p.Container.Mounts {
		mounts = append(mounts, map[string]any{"source": m.Source, "target": m.Target, "read_only": m.ReadOnly})
	}
	return mounts
}

// setMemory reads a size in bytes with k, m or g behind it, as the engine does.
func setMemory(p *Policy, v any) error {
	s, ok := v.(string)
	if !ok {
		return errors.New(`must be a size such as "2g", or "0" for no limit`)
	}
	n, ok := size(s)
	if !ok || n != 0 && n < 16<<20 {
		return errors.New(`must be a size such as "2g" of at least "16m", or "0" for no limit`)
	}
	p.Container.Memory = n
	return nil
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

func getMemory(p *Policy) any {
	n, unit := p.Container.Memory, ""
	for _, larger := range []string{"k", "m", "g"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return strconv.FormatInt(n, 10) + unit
}

func setUmask(p *Policy, v any) error {
	s, ok := v.(string)
	n, err := strconv.ParseUint(s, 8, 32)
	if !ok || err != nil || n > 0o777 {
		return errors.New(`must be octal digits in quotes, such as "027"`)
	}
	mask := uint32(n)
	p.Session.Umask = &mask
	return nil
}

func getUmask(p *Policy) any {
	if p.Session.Umask == nil {
		return nil
	}
	return fmt.Sprintf("%03o", *p.Session.Umask)
}

var variable = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })

func setEnv(p *Policy, v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return errors.New("must be a table of names and strings")
	}
	set := map[string]string{}
	for name, value := range table {
		s, ok := value.(string)
		if !ok || !variable().MatchString(name) || strings.ContainsRune(s, 0) {
			return errors.New("must hold names of variables, each with a string")
		}
		set[name] = s
	}
	p.Session.SetEnv = set
	return nil
}

func setAcceptEnv(p *Policy, v any) error {
	list, ok := stringsOf(v)
	if !ok {
		return errors.New("must be a list of strings")
	}
	for _, name := range list {
		if !variable().MatchString(strings.TrimSuffix(name, "*")) {
			return errors.New("must hold names of variables; one may end in *")
		}
	}
	p.Session.AcceptEnv = list
	return nil
}

func getAcceptEnv(p *Policy) any { return append([]string{}, p.Session.AcceptEnv...) }
