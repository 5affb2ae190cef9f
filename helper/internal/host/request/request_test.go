// SPDX-License-Identifier: Apache-2.0

package request

import (
	"errors"
	"strings"
	"testing"

	"berth/helper/internal/link/lifeline"
)

const self = "/usr/libexec/berth/berth-session"

func TestParse(t *testing.T) {
	shell := Request{Kind: lifeline.ShellRequest}
	for _, c := range []struct {
		name     string
		argv     []string
		original string
		want     Request
		err      error
	}{
		{"forced, no command", []string{self}, "", shell, nil},
		{"forced, a command", []string{self}, "echo 'a b'; exit 3", Request{lifeline.CommandRequest, "echo 'a b'; exit 3"}, nil},
		{"literal token", []string{self, "%u"}, "", shell, nil},
		{"own name", []string{self, "alice"}, "", shell, nil},
		{"another name", []string{self, "bob"}, "", Request{}, ErrSomeoneElse},
		{"root", []string{self, "root"}, "id", Request{}, ErrSomeoneElse},
		{"an option", []string{self, "--user=bob"}, "", Request{}, ErrUsage},
		{"two names", []string{self, "alice", "bob"}, "", Request{}, ErrUsage},
		{"login shell", []string{"-berth-session"}, "", shell, nil},
		{"login shell, command", []string{"berth-session", "-c", "ls -l"}, "", Request{lifeline.CommandRequest, "ls -l"}, nil},
		{"login shell, empty command", []string{"berth-session", "-c", ""}, "", Request{Kind: lifeline.CommandRequest}, nil},
		{"login shell and forced", []string{"berth-session", "-c", self}, "ls", Request{lifeline.CommandRequest, "ls"}, nil},
		{"login shell and forced, token", []string{"berth-session", "-c", self + " %u"}, "", shell, nil},
		{"login shell and forced, another", []string{"berth-session", "-c", self + " bob"}, "", Request{}, ErrSomeoneElse},
		{"no argv at all", nil, "", shell, nil},
		{"sftp, internal", []string{self}, "internal-sftp -l INFO", Request{Kind: lifeline.SFTPRequest}, nil},
		{"sftp, external", []string{self}, "/usr/lib/openssh/sftp-server", Request{Kind: lifeline.SFTPRequest}, nil},
		{"not sftp: a script", []string{self}, "/usr/lib/openssh/sftp-server; id", Request{lifeline.CommandRequest, "/usr/lib/openssh/sftp-server; id"}, nil},
		{"not sftp: relative", []string{self}, "./sftp-server", Request{lifeline.CommandRequest, "./sftp-server"}, nil},
		{"newlines stay", []string{self}, "a\nb\n", Request{lifeline.CommandRequest, "a\nb\n"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.argv, self, c.original, "alice")
			if !errors.Is(err, c.err) || got != c.want {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

// Whatever the client sends is run unchanged or is the sftp subsystem, and
// never an error: it cannot keep itself out, nor name somebody.
func FuzzOriginal(f *testing.F) {
	f.Add("internal-sftp")
	f.Add("$(id)\x80\xff\n' \"")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse([]string{self}, self, text, "alice")
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind == lifeline.CommandRequest && got.Command != text {
			t.Fatalf("%q became %q", text, got.Command)
		}
		if got.Kind == lifeline.SFTPRequest && !strings.Contains(text, "sftp") {
			t.Fatalf("%q is no sftp", text)
		}
	})
}
