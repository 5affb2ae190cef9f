// SPDX-License-Identifier: Apache-2.0

package record

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

const text = "alice:x:1001:1001:Alice:/home/alice:/bin/zsh\nalice:x:1001:\ndomain users:x:900:\n"

var alice = Record{User: "alice", GID: 1001, Gecos: "Alice", Home: "/home/alice", Shell: "/bin/zsh", Groups: map[uint32]string{1001: "alice", 900: "domain users"}}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "1001"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Read(dir, 1001); err != nil || !reflect.DeepEqual(r, alice) {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.Chown(filepath.Join(dir, "1001"), 1001, 0); err != nil {
		t.Fatal(err)
	}
	if r, err := Read(dir, 1001); err == nil {
		t.Errorf("a file of the user's is believed: %+v", r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text, uint32(1001))
	f.Add("a:b\n:::", uint32(0))
	f.Fuzz(func(t *testing.T, text string, uid uint32) {
		r, err := Parse(text, uid)
		if err == nil && r.Groups == nil {
			t.Error("half a record")
		}
	})
}
