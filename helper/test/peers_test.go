// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/link/paths"
	"berth/helper/internal/link/rules"
	"berth/helper/internal/policy"
	"berth/test/labs"

	"golang.org/x/sys/unix"
)

const whoami = "id -u; id -g; id -un 2>&1"

// Who connects is who the session is, and nothing that is said changes it.
func TestAccess(t *testing.T) {
	before := stableState(t, lab)
	// PAM has recorded alice's and bob's names; nobody has opened a session yet
	// for the uids below.
	logInOnce(t, lab, "alice", "bob")
	alice := strings.Fields(lab.Exec(t, "id", "-u", "alice"))[0]
	is := func(who, got string, want ...string) {
		t.Helper()
		if got != strings.Join(want, "\n") {
			t.Errorf("%s: %q, want %q", who, got, want)
		}
	}
	refused := func(who, got, why string) {
		t.Helper()
		if !strings.HasPrefix(got, "refused: this account is not one of this gateway's users") || !strings.Contains(got, why) {
			t.Errorf("%s: %q, want a refusal: %s", who, got, why)
		}
	}
	is("herself", runProbe(t, lab, "alice", "session", socket, whoami), alice, alice, "alice")
	refused("root", runProbe(t, lab, "root", "session", socket, whoami), "root")

	numeric := func(ids ...string) *exec.Cmd {
		return lab.Command(append(append([]string{"setpriv"}, ids...), "env", "BERTH_PROBE=session", "/home/probe", socket, whoami)...)
	}
	refused("a system account", outputOf(t, numeric("--reuid", "101", "--regid", "101", "--clear-groups")), "out of range")
	refused("nobody", outputOf(t, numeric("--reuid", "65534", "--regid", "65534", "--clear-groups")), "mean nothing")
	refused("the group of root", outputOf(t, numeric("--reuid", alice, "--regid", alice, "--groups", "0")), "group of root")
	engine := lab.Exec(t, "stat", "-L", "-c", "%g", "/run/docker.sock")
	refused("the engine's group", outputOf(t, numeric("--reuid", alice, "--regid", alice, "--groups", strings.TrimSpace(engine))), "engine's group")
	// Without a record: a number below 60000 may be anybody's of the host; above
	// it may be one of a user namespace.
	is("a user without names", outputOf(t, numeric("--reuid", "54321", "--regid", "54321", "--clear-groups")), "54321", "54321", "id: cannot find name for user ID 54321", "54321")
	refused("a subordinate uid", outputOf(t, numeric("--reuid", "165536", "--regid", "165536", "--clear-groups")), "user namespace")

	// In a user namespace of her own she is root there, and alice to the kernel.
	in := lab.AsUser("alice", "unshare", "--user", "--map-root-user", "env", "BERTH_PROBE=session", "/home/probe", socket, whoami)
	is("alice as root of a user namespace", outputOf(t, in), alice, alice, "alice")
	in = lab.Command("unshare", "--pid", "--fork", "setpriv", "--reuid", alice, "--regid", alice, "--clear-groups", "env", "BERTH_PROBE=session", "/home/probe", socket, whoami)
	is("alice in a pid namespace", outputOf(t, in), alice, alice, "alice")

	// Inside, nobody reaches the socket; container root, who does, is refused.
	const inside = paths.Serve + "/" + paths.Socket
	got := labs.Finish(lab.SSH("alice", "BERTH_PROBE=session /home/probe "+inside+" id"))
	if !strings.Contains(got.Out, "permission denied") {
		t.Errorf("a user inside: %+v", got)
	}
	// Not alice: the keeper ends what her session has left, and takes that for it.
	for who, id := range map[string]string{"root inside": "0:0", "a user inside, with root's group": "54322:0"} {
		cmd := exec.Command("docker", "exec", "-u", id, "-e", "BERTH_PROBE=session", lab.Container(t), "/home/probe", inside, whoami)
		r := labs.Finish(cmd)
		if !strings.Contains(r.Out, "permission denied") && !strings.Contains(r.Out, "the caller is in the container") {
			t.Errorf("%s: %+v", who, r)
		}
	}
	log, _ := exec.Command("docker", "logs", lab.Container(t)).CombinedOutput()
	for _, line := range []string{"refused uid 101, gid 101: the uid is out of range", "the caller is in the container"} {
		if !strings.Contains(string(log), line) {
			t.Errorf("docker logs lack %q:\n%s", line, log)
		}
	}
	awaitState(t, lab, before)
}

func init() {
	// Connects as alice, then is bob when it speaks.
	probes["changes"] = func(args []string) string {
		ids := [2]int{}
		for i := range ids {
			ids[i], _ = strconv.Atoi(args[i])
		}
		if err := syscall.Setresuid(0, ids[0], 0); err != nil {
			return err.Error()
		}
		c, err := dial(socket)
		if err != nil {
			return err.Error()
		}
		if err := syscall.Setresuid(0, 0, 0); err != nil {
			return err.Error()
		}
		if err := syscall.Setresuid(ids[1], ids[1], ids[1]); err != nil {
			return err.Error()
		}
		return c.session("id -u")
	}
	// Connects as alice and has bob, another process, use the connection.
	probes["passes"] = func(args []string) string {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err.Error()
		}
		uid, _ := strconv.Atoi(args[1])
		child := exec.Command("/proc/self/exe")
		child.Env = []string{"BERTH_PROBE=passed"}
		child.ExtraFiles = []*os.File{os.NewFile(uintptr(ends[1]), "pair")}
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		var out strings.Builder
		child.Stdout = &out
		if err := child.Start(); err != nil {
			return err.Error()
		}
		from, _ := strconv.Atoi(args[0])
		if err := syscall.Setresuid(0, from, 0); err != nil {
			return err.Error()
		}
		c, err := dial(socket)
		if err != nil {
			return err.Error()
		}
		if err := c.Control(func(fd uintptr) { err = unix.Sendmsg(ends[0], []byte{0}, unix.UnixRights(int(fd)), nil, 0) }); err != nil {
			return err.Error()
		}
		c.Close()
		_ = child.Wait()
		return strings.TrimSpace(out.String())
	}
	probes["passed"] = func([]string) string {
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), oob, 0)
		if err != nil {
			return err.Error()
		}
		messages, _ := unix.ParseSocketControlMessage(oob[:n])
		fds, _ := unix.ParseUnixRights(&messages[0])
		line, err := lifeline.New(fds[0])
		if err != nil {
			return err.Error()
		}
		return client{line}.session("id -u") + " by " + strconv.Itoa(os.Getuid())
	}
	// Connects, says a word or none, and is gone.
	probes["leaves"] = func(args []string) string {
		n, _ := strconv.Atoi(args[0])
		for i := range n {
			c, err := dial(socket)
			if err != nil {
				return err.Error()
			}
			switch i % 3 {
			case 1:
				_ = c.Send(lifeline.Hello, nil)
			case 2:
				if words := c.hello(); words != "" {
					return words
				}
			}
			c.Close()
		}
		return "done"
	}
}

// The kernel says who called connect(2); what becomes of the caller later is
// nothing to it.
func TestIdentityIsFixedAtConnect(t *testing.T) {
	before := stableState(t, lab)
	alice := strings.TrimSpace(lab.Exec(t, "id", "-u", "alice"))
	bob := strings.TrimSpace(lab.Exec(t, "id", "-u", "bob"))
	// With gid and groups that belong to nobody else, so that root's are not asked.
	as := func(name string, args ...string) string {
		argv := append([]string{"setpriv", "--regid", alice, "--clear-groups", "env", "BERTH_PROBE=" + name, "/home/probe"}, args...)
		return outputOf(t, lab.Command(argv...))
	}
	if got := as("changes", alice, bob); got != alice {
		t.Errorf("alice, then bob: the session is %s's, want %s's", got, alice)
	}
	if got := as("changes", "0", alice); !strings.Contains(got, "refused") || !strings.Contains(got, "root") {
		t.Errorf("root, then alice: %s", got)
	}
	// She gave her session away, as she could give her password away; she cannot
	// get another's.
	if got, want := as("passes", alice, bob), fmt.Sprintf("%s by %s", alice, bob); got != want {
		t.Errorf("passed on: %q, want %q", got, want)
	}
	if got := runProbe(t, lab, "alice", "leaves", "300"); got != "done" {
		t.Errorf("connections that end at once: %s", got)
	}
	awaitState(t, lab, before)
	if got := runProbe(t, lab, "bob", "session", socket, "id -u"); got != bob {
		t.Errorf("bob: %s", got)
	}
}

// With the exec transport no server looks at the caller, so the supervisor does: it
// goes by the rules, whatever berth-session made of berth.toml.
func TestAccessByExec(t *testing.T) {
	l := labs.New(t, "transport = \"exec\"\n")
	logInOnce(t, l, "alice", "bob")
	last := l.UID(t, "alice") // bob's is higher
	l.Exec(t, "sed", "-i", "s/^uid_max=.*/uid_max="+last+"/", policy.UsersDir+"/"+policy.AnyUser+"/"+rules.File)
	r := labs.Finish(l.SSH("bob", "id"))
	if r.Status != 255 || r.Out != "" || !strings.Contains(r.Err, "this account is not one of this gateway's users: the uid is out of range") {
		t.Errorf("bob: %+v", r)
	}
	if r := labs.Finish(l.SSH("alice", "id -un")); r.Out != "alice\n" {
		t.Errorf("alice: %+v", r)
	}
}
