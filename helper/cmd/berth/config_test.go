// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// berth runs a verb with a configuration of root's, as a test is.
func berth(t *testing.T, config string, args ...string) (out string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth.toml")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command()
	var printed bytes.Buffer
	cmd.SetOut(&printed)
	cmd.SetErr(&printed)
	cmd.SetArgs(append([]string{"--config", path}, args...))
	err = cmd.Execute()
	return printed.String(), err
}

// What a regular expression misreads, in every way of TOML to say it.
func TestConfigIsReadAsTOML(t *testing.T) {
	for _, file := range []string{
		"transport = 'direct'\n[engine]\nsocket = '/run/x.sock'\n",
		"\"transport\" = \"\"\"direct\"\"\"\nengine.socket = \"/run/\\u0078.sock\"\n",
		"engine = { socket = \"/run/x.sock\" } # socket = \"/other\"\ntransport=\"direct\"#\n",
	} {
		for key, want := range map[string]string{"transport": "direct\n", "engine.socket": "/run/x.sock\n", "container.name": "berth\n", "session.umask": "\n"} {
			if out, err := berth(t, file, "config", key); out != want || err != nil {
				t.Errorf("%s: %q, %v\n%s", key, out, err, file)
			}
		}
		out, err := berth(t, file, "config", "--json")
		var all struct {
			Transport string
			Engine    struct{ Socket, Timeout string }
			Container map[string]any
		}
		if err != nil || json.Unmarshal([]byte(out), &all) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if all.Transport != "direct" || all.Engine.Socket != "/run/x.sock" || all.Engine.Timeout != "10s" || all.Container["memory"] != "2g" {
			t.Errorf("%s", out)
		}
		out, err = berth(t, file, "config")
		if err != nil || !strings.Contains(out, "transport = \"direct\"\n") || !strings.Contains(out, "\ntimeout = \"10s\" # default\n") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestConfigNamesEveryWrongKey(t *testing.T) {
	out, err := berth(t, "trnasport = 'direct'\n[engine]\nsocket = 3\n[container]\nserve = '/srv'\n", "config", "--json")
	if err == nil || out != "" {
		t.Fatalf("%q, %v", out, err)
	}
	for _, want := range []string{"trnasport: is no key of berth.toml", "engine.socket: must be a string", "container.serve: is no key of berth.toml"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if _, err := berth(t, "", "config", "container.serve"); err == nil || !strings.Contains(err.Error(), "has no key") {
		t.Errorf("%v", err)
	}
}
