// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"berth/test/labs"
)

// users have as many sessions each as the default session.limit allows.
const users, limit = 10, 100

// room opens 1,000 sessions with a terminal in a lab with default settings and shows
// what they take. They are logins by the real sshd, one connection for each user;
// every one has a shell that waits at its prompt.
func room(ctx context.Context, quick bool, to io.Writer) error {
	lab, err := labs.Raise()
	if err != nil {
		return err
	}
	defer lab.Down()
	h := &house{ctx: ctx, lab: lab, first: 40000 + 10*rand.IntN(1000)}
	if err := h.settle(); err != nil {
		return err
	}
	defer h.close()
	levels := []int{0, 300, 600, users * limit}
	samples := 21
	if quick {
		levels, samples = []int{0, 10, 20, 30}, 3
	}
	var all []figures
	for _, n := range levels {
		start := time.Now()
		if err := h.openSessions(n); err != nil {
			return fmt.Errorf("%d sessions are open: %w", len(h.sessions), err)
		}
		fmt.Fprintf(os.Stderr, "bench: %d sessions are open after %.0f s\n", n, time.Since(start).Seconds())
		f, err := h.measure(samples)
		if err != nil {
			return err
		}
		all = append(all, f)
	}
	if err := h.each(func(s *session) error { return s.shell("still") }); err != nil {
		return fmt.Errorf("not every session answers: %w", err)
	}
	fmt.Fprintf(os.Stderr, "bench: all %d sessions answer\n", len(h.sessions))
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "open sessions with a terminal\t")
	for _, n := range levels {
		fmt.Fprintf(table, "%d\t", n)
	}
	fmt.Fprintln(table)
	for i, name := range figureNames {
		fmt.Fprintf(table, "%s\t", name)
		for _, f := range all {
			fmt.Fprintf(table, "%s\t", number(f[i]))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// house is a lab with ten more users and their sessions.
type house struct {
	ctx      context.Context
	lab      *labs.Lab
	first    int // uid: another lab's users, or another run's, must not be counted with these
	keeper   int
	masters  []column
	sessions []*session
}

func (h *house) column(user string, more ...string) column {
	args := []string{"-F", h.lab.Path("ssh_config"), "-o", "User=" + user, "-o", "HostKeyAlias=lab", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null"}
	return column{ctx: h.ctx, name: user, args: append(append(args, more...), "alice")}
}

// settle makes the users, opens a connection of each, and finds the keeper.
func (h *house) settle() error {
	if err := h.addUsers(users, "berth"); err != nil {
		return err
	}
	name, err := os.ReadFile(h.lab.Path("container"))
	if err != nil {
		return err
	}
	out, err := exec.Command("docker", "inspect", "--format", "{{.State.Pid}}", strings.TrimSpace(string(name))).Output()
	if err == nil {
		_, err = fmt.Sscan(string(out), &h.keeper)
	}
	if err != nil {
		return fmt.Errorf("the container: %w", err)
	}
	for i := range users {
		user := fmt.Sprintf("u%d", i)
		c := h.column(user, "-o", "ControlPath="+filepath.Join(h.lab.Dir, "mux-"+user))
		if _, err := millis(c.command("-M", "-N", "-f")); err != nil {
			h.close()
			return err
		}
		h.masters = append(h.masters, c)
	}
	return nil
}

// addUsers makes accounts u0, u1, ..., who log in with alice's key, as admin and bob
// do from now on.
func (h *house) addUsers(n int, groups string) error {
	const script = `set -e
lab=$1 first=$2 users=$3
i=0
while [ $i -lt "$users" ]; do
	groupadd -g $((first + i)) u$i
	useradd -M -u $((first + i)) -g u$i -G "$4" -p '*' -d /home/u$i -s /bin/bash u$i
	install -m 644 "$lab/keys/alice.pub" /etc/berth/authorized_keys/u$i
	i=$((i + 1))
done
tee -a /home/admin/.ssh/authorized_keys /home/bob/.ssh/authorized_keys <"$lab/keys/alice.pub"
`
	if out, err := h.lab.Command("sh", "-c", script, "sh", h.lab.Dir, fmt.Sprint(h.first), fmt.Sprint(n), groups).CombinedOutput(); err != nil {
		return fmt.Errorf("users: %w: %s", err, out)
	}
	return nil
}

// openSessions opens sessions, some at a time, until n are open.
func (h *house) openSessions(n int) error {
	const atOnce = 16
	more := make([]*session, n-len(h.sessions))
	errs := make([]error, len(more))
	var doing sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range more {
		c := h.masters[(len(h.sessions)+i)%users]
		turns <- struct{}{}
		doing.Go(func() {
			more[i], errs[i] = c.login()
			<-turns
		})
	}
	doing.Wait()
	for _, s := range more {
		if s != nil {
			h.sessions = append(h.sessions, s)
		}
	}
	return errors.Join(errs...)
}

func (h *house) each(do func(*session) error) error {
	errs := make([]error, len(h.sessions))
	var doing sync.WaitGroup
	for i, s := range h.sessions {
		doing.Go(func() { errs[i] = do(s) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

func (h *house) close() {
	for _, c := range h.masters {
		_ = exec.Command("ssh", append([]string{"-O", "exit"}, c.args...)...).Run()
	}
	_ = h.each(func(s *session) error { s.close(); return nil })
}
