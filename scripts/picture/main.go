// SPDX-License-Identifier: Apache-2.0

// picture logs in to a lab, types what a user might type, and writes the screen
// to docs/session.svg, which the README shows. Nothing in the picture is typeset
// by hand. It needs root and `make build image`.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"berth/test/labs"
)

const (
	cols = 84
	rows = 28
	into = "docs/session.svg"
)

// config gives the container a name that is the same in each run.
const config = "[container]\nhostname = \"container\"\n"

// client is the start-up file of the shell on the client's side: `ssh alice@host`
// is the real client, and finds the lab under the name host.
const client = `PS1='\[\e[1;34m\]laptop\[\e[0m\]$ '
ssh() { command ssh -F "$SSH_CONFIG" "$@"; }
unset HISTFILE PROMPT_COMMAND
`

// typed is the session: what is typed, and the prompt that must follow.
var typed = []struct{ line, prompt string }{
	{"ssh alice@host", "alice@container:~$ "},
	{"whoami; pwd; tty", "alice@container:~$ "},
	{"echo 'my list' >todo; ls -l --time-style=+ todo", "alice@container:~$ "},
	{"ls /", "alice@container:~$ "},
	{"ls /run/docker.sock; ls /home/bob", "alice@container:~$ "},
	{"touch /etc/motd", "alice@container:~$ "},
	{"grep -E 'CapEff|NoNewPrivs' /proc/self/status", "alice@container:~$ "},
	{"exit", "laptop$ "},
	{"echo through a pipe | ssh alice@host 'tr a-z A-Z; exit 42'; echo status $?", "laptop$ "},
	{"ssh -W localhost:80 alice@host", "laptop$ "},
}

func main() {
	if err := picture(); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func picture() error {
	dir, err := os.MkdirTemp("", "berth-picture-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := func(name, text string) string {
		path := dir + "/" + name
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		return path
	}
	toml, rc := file("berth.toml", config), file("rc", client)
	if err != nil {
		return err
	}
	lab, err := labs.Raise("--config", toml)
	if err != nil {
		return err
	}
	defer lab.Down()
	known, err := os.ReadFile(lab.Path("ssh_config"))
	if err != nil {
		return err
	}
	config := file("ssh_config", asHost(string(known)))
	if err != nil {
		return err
	}
	shell := exec.Command("bash", "--noprofile", "--rcfile", rc, "-i")
	shell.Dir = dir
	shell.Env = append(os.Environ(), "TERM=xterm-256color", "LANG=C.UTF-8", "SSH_CONFIG="+config)
	screen, err := record(shell)
	if err != nil {
		return err
	}
	return os.WriteFile(into, svg(screen, "alice logs in to the host and works in the container"), 0o644)
}

// asHost is the lab's ssh_config with its machine under the name host: the block of
// alice without her name, and what follows for all.
func asHost(config string) string {
	_, config, _ = strings.Cut(config, "Host alice\n")
	block, _, _ := strings.Cut(config, "Host ")
	block = strings.ReplaceAll(block, "    User alice\n", "")
	_, all, _ := strings.Cut(config, "Host *\n")
	return "Host host\n" + block + "Host *\n" + all
}

// record types what is to be typed, each line when the prompt before it is there, and
// returns the screen.
func record(shell *exec.Cmd) (vt10x.Terminal, error) {
	tty, err := pty.StartWithSize(shell, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		return nil, err
	}
	defer func() {
		tty.Close()
		_ = shell.Process.Kill()
		_ = shell.Wait()
	}()
	if err := tty.SetDeadline(time.Now().Add(labs.Patience)); err != nil {
		return nil, err
	}
	screen := vt10x.New(vt10x.WithSize(cols, rows))
	// until reads until the cursor stands behind prompt.
	until := func(prompt string) error {
		buf := make([]byte, 4096)
		for !strings.HasSuffix(beforeCursor(screen), prompt) {
			n, err := tty.Read(buf)
			if err != nil {
				return fmt.Errorf("%q does not appear: %w\n%s", prompt, err, screen)
			}
			if _, err := screen.Write(buf[:n]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := until("laptop$ "); err != nil {
		return nil, err
	}
	for _, next := range typed {
		if _, err := tty.WriteString(next.line); err != nil {
			return nil, err
		}
		if err := until(next.line); err != nil { // its echo
			return nil, err
		}
		if _, err := tty.WriteString("\r"); err != nil {
			return nil, err
		}
		if err := until(next.prompt); err != nil {
			return nil, err
		}
	}
	return screen, nil
}

// beforeCursor is what stands in the cursor's line before it.
func beforeCursor(screen vt10x.View) string {
	cursor := screen.Cursor()
	var line strings.Builder
	for x := range cursor.X {
		line.WriteRune(screen.Cell(x, cursor.Y).Char)
	}
	return line.String()
}
