// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var some = Rules{UIDMin: 1000, UIDMax: 1<<32 - 2, Limit: 7, Linger: Forever, Shell: "/opt/my shell", Processes: 900, Held: []uint32{105, 999},
	Idle: 900, Spares: 4}

func TestRoundTrip(t *testing.T) {
	if r, err := Parse(some.Words()); err != nil || !reflect.DeepEqual(r, some) {
		t.Errorf("%+v, %v", r, err)
	}
	path := filepath.Join(t.TempDir(), File)
	if err := os.WriteFile(path, []byte(strings.Join(some.Words(), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Load(path); err != nil || !reflect.DeepEqual(r, some) {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("rules that others may write are gone by")
	}
}

// A rule that is missing, unknown, malformed or there twice makes all void.
func TestIncomplete(t *testing.T) {
	words := some.Words()
	for i := range words {
		key, _, _ := strings.Cut(words[i], "=")
		for _, bad := range [][]string{slices.Delete(slices.Clone(words), i, i+1), append(slices.Clone(words), words[i])} {
			if _, err := Parse(bad); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		for _, value := range []string{"x", "-2", "4294967296", "18446744073709551617", "1.5", ""} {
			if key == "shell" || key == "held" && value == "" {
				continue
			}
			bad := slices.Clone(words)
			bad[i] = key + "=" + value
			if _, err := Parse(bad); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
}

// Each field of Rules has its rule: none is lost on the way.
func TestEveryFieldHasARule(t *testing.T) {
	if fields := reflect.TypeFor[Rules]().NumField(); fields != len(table) {
		t.Errorf("%d fields, %d rules", fields, len(table))
	}
	v := reflect.ValueOf(some)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the round trip does not show %s", v.Type().Field(i).Name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(strings.Join(some.Words(), "\n"))
	f.Add("uid_min=0\nheld=,,x")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(strings.Split(text, "\n"))
		if err == nil && (r.UIDMin == 0 || r.Limit < 1) {
			t.Errorf("%+v", r)
		}
	})
}
