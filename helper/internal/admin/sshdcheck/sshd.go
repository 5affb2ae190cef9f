// SPDX-License-Identifier: Apache-2.0

package sshdcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"berth/helper/internal/policy"
)

// effectiveConfig is what `sshd -T` prints: the values that are in force for one
// login, by keyword in lower case.
type effectiveConfig map[string][]string

func (e effectiveConfig) first(key string) string {
	if len(e[key]) == 0 {
		return ""
	}
	return e[key][0]
}

// sshd asks the real sshd what a login of user would get.
type sshd struct {
	path   string
	config string
	probes *probes // for accounts that are made up
}

// privsepDir is there only while sshd runs, and sshd -T wants it.
const privsepDir = "/run/sshd"

func newSSHD(config string) (*sshd, error) {
	path, err := exec.LookPath("sshd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/sshd")
	}
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(privsepDir, 0o755); err != nil {
		return nil, err
	}
	return &sshd{path: path, config: config}, nil
}

func (s *sshd) query(ctx context.Context, a account, conn map[string]string) (effectiveConfig, error) {
	spec := []string{"user=" + a.name}
	for _, key := range []string{"host", "addr", "laddr", "lport", "rdomain"} {
		if value, found := conn[key]; found {
			spec = append(spec, key+"="+value)
		}
	}
	argv := []string{s.path, "-T", "-f", s.config, "-C", strings.Join(spec, ",")}
	if a.probe {
		argv = s.probes.wrap(argv)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if a.probe && errors.As(err, &exit) && exit.ExitCode() == exitNoMount {
			return nil, errNoProbe
		}
		return nil, fmt.Errorf("sshd -T: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	e := effectiveConfig{}
	for _, l := range strings.Split(out.String(), "\n") {
		if key, value, found := strings.Cut(l, " "); found {
			e[strings.ToLower(key)] = append(e[strings.ToLower(key)], strings.TrimSpace(value))
		}
	}
	return e, nil
}

// demand is a value of sshd's that confinement needs.
type demand struct {
	key, want string // as sshd -T prints them
	line      string // how sshd_config has it
	effect    string // what confined users get without it
	// neverForwards: a kind of forwarding that no profile can allow.
	neverForwards bool
	// disabled: DisableForwarding does the same, in every release.
	disabled bool
	// loginShell: it also matters where berth-session is the login shell and no command is forced.
	loginShell bool
}

// demands hold for every profile; what a profile may decide is in forward.go.
var demands = []demand{
	{key: "allowstreamlocalforwarding", want: "no", line: "AllowStreamLocalForwarding no",
		effect: "reach the unix sockets of this host, as ssh -L", neverForwards: true, disabled: true, loginShell: true},
	{key: "gatewayports", want: "no", line: "GatewayPorts no",
		effect: "open ports to other hosts, as ssh -R", neverForwards: true, disabled: true, loginShell: true},
	{key: "x11forwarding", want: "no", line: "X11Forwarding no",
		effect: "open ports and start xauth(1) on this host, as ssh -X", neverForwards: true, loginShell: true},
	{key: "permittunnel", want: "no", line: "PermitTunnel no",
		effect: "open tunnels to this host's network, as ssh -w", neverForwards: true, loginShell: true},
	{key: "permituserenvironment", want: "no", line: "PermitUserEnvironment no",
		effect: "choose by ~/.ssh/environment what the shell that runs berth-session on this host starts with"},
	{key: "permituserrc", want: "no", line: "PermitUserRC no", effect: "may have ~/.ssh/rc run on this host"},
}

// environment is the drop-in's SetEnv: it keeps the login shell, which runs the
// forced command, from the files and libraries of the home.
var environment = []string{
	"HOME=/var/empty", "ZDOTDIR=/var/empty", "XDG_CONFIG_HOME=/var/empty", "XDG_DATA_HOME=/var/empty", "XDG_CONFIG_DIRS=/var/empty",
	"XDG_DATA_DIRS=/var/empty", "BASH_ENV=/dev/null", "ENV=/dev/null", "SHELLOPTS=", "BASHOPTS=", "PS4=", "LD_PRELOAD=", "LD_AUDIT=",
	"LD_LIBRARY_PATH=", "GCONV_PATH=", "LOCPATH=", "TMPDIR=/tmp",
}

// fault is one thing that is wrong with one login.
type fault struct {
	effect     string // what such users get
	evidence   string // what sshd says
	key        string // the keyword to look for in the text
	line       string // what mends it, within the Match block of the drop-in
	needsGroup bool   // membership in the drop-in's group mends it
	forwards   bool   // about what session.forward decides
	minor      bool   // users are confined all the same
}

// confinementFaults returns what is wrong with the login of a user who is to be confined.
func (h Host) confinementFaults(a account, p policy.Policy, e effectiveConfig) (faults []fault) {
	force := e.first("forcecommand")
	forced, shell := h.isSession(force), h.isSession(a.shell)
	if !forced && !shell {
		return []fault{{effect: "get a shell on this host", evidence: "ForceCommand is " + force,
			key: "forcecommand", line: "ForceCommand " + h.Session}}
	}
	faults, _ = forwardFaults(p, e)
	for _, d := range demands {
		if !forced && !d.loginShell || e.first(d.key) == d.want || d.disabled && e.first("disableforwarding") == "yes" {
			continue
		}
		name, _, _ := strings.Cut(d.line, " ")
		faults = append(faults, fault{effect: d.effect, evidence: name + " is " + e.first(d.key), key: d.key, line: d.line})
	}
	if !forced {
		return mergeFaults(append(faults, h.loginShellFaults(e)...), a)
	}
	var missing []string
	for _, want := range environment {
		if !slices.Contains(e["setenv"], want) {
			missing = append(missing, want)
		}
	}
	// Where berth-session is the login shell, no other program reads them.
	if len(missing) > 0 && !shell {
		faults = append(faults, fault{effect: "have start-up files and libraries of their homes run on this host",
			evidence: "SetEnv lacks " + missing[0] + andMore(len(missing)-1), key: "setenv", line: "SetEnv " + strings.Join(environment, " ")})
	}
	return faults
}

// loginShellFaults returns what sshd itself offers an account without a forced command: its
// own sftp server, which bypasses the login shell and reads the host's files.
func (h Host) loginShellFaults(e effectiveConfig) (faults []fault) {
	const effect = "read and write this host's files, by the sftp server within sshd"
	force := "ForceCommand " + h.Session
	if slices.ContainsFunc(e["subsystem"], func(s string) bool { return strings.HasPrefix(s, "sftp internal-sftp") }) {
		faults = append(faults, fault{effect: effect,
			evidence: "Subsystem sftp is internal-sftp, and ForceCommand is none", key: "forcecommand", line: force})
	}
	for _, file := range strings.Fields(e.first("authorizedkeysfile")) {
		if file != "none" && (!strings.HasPrefix(file, "/etc/") || strings.Contains(file, "%h")) {
			faults = append(faults, fault{effect: effect, key: "forcecommand", line: force,
				evidence: `a line command="internal-sftp" in ` + file + " is obeyed, for ForceCommand is none"})
			break
		}
	}
	return faults
}

// mergeFaults makes one fault of all, if the account is confined by its login shell alone:
// no Match is meant for it.
func mergeFaults(faults []fault, a account) []fault {
	if len(faults) == 0 || a.isMember([]string{Group}) {
		return faults
	}
	var evidence []string
	for _, f := range faults {
		evidence = append(evidence, f.evidence)
	}
	return []fault{{effect: "reach this host past their login shell", evidence: strings.Join(evidence, "; "), needsGroup: true}}
}

// adminFaults returns what is wrong with the login of root or of an administrator.
func (h Host) adminFaults(e effectiveConfig) (faults []fault) {
	if force := e.first("forcecommand"); h.isSession(force) {
		faults = append(faults, fault{effect: "get the container and not this host", evidence: "ForceCommand is " + force, key: "forcecommand"})
	} else if slices.Contains(e["setenv"], environment[0]) {
		faults = append(faults, fault{effect: "have sessions with the variables of confined users",
			evidence: "SetEnv has " + environment[0], key: "setenv"})
	}
	return faults
}

func andMore(n int) string {
	if n < 1 {
		return ""
	}
	return " and " + strconv.Itoa(n) + " more"
}
