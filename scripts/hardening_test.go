// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What was built has its guards, and each guard that a program lacks is missed.
func TestHardening(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "x.c")
	if err := os.WriteFile(source, []byte(`
#include <stdio.h>
#ifdef STATIC
#include "built.h"
#endif
int main(int argc, char **argv) { char b[64]; snprintf(b, argc * 8, "%s", argv[0]); return puts(b) < 0; }
`), 0o644); err != nil {
		t.Fatal(err)
	}
	flags, err := exec.Command("./cflags").Output()
	if err != nil {
		t.Fatal(err)
	}
	compile := func(t *testing.T, args string) string {
		t.Helper()
		out := filepath.Join(t.TempDir(), "x")
		argv := append(strings.Fields(string(flags)), "-I../helper/internal/host/process", source, "-o", out)
		if text, err := exec.Command("gcc", append(argv, strings.Fields(args)...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return out
	}
	const pie, static, full = "-fPIE -pie", "-DSTATIC -s -static", " -Wl,-z,relro,-z,now"
	for _, c := range []struct{ kind, args, missed string }{
		{"pie", pie + full, ""},
		{"pie-go", pie + full + " -fno-stack-protector", ""},
		{"module", "-fPIC -shared" + full, ""},
		{"static", static + " -no-pie" + full, ""},
		{"static-pie", "-DSTATIC -s -fPIE -static-pie" + full, ""},
		{"static-go", static + " -Wl,-z,norelro", ""},
		{"pie", "-no-pie -fno-pie" + full, "is no PIE"},
		{"pie", pie + full + " -fno-stack-protector", "no stack protector"},
		{"pie", pie + full + " -U_FORTIFY_SOURCE", "no FORTIFY"},
		{"pie", pie + " -Wl,-z,relro,-z,lazy", "no full RELRO"},
		{"pie", pie + " -Wl,-z,norelro,-z,now", "has no RELRO"},
		{"pie", pie + full + " -z execstack", "executable stack"},
		{"pie", pie + full + " -Wl,-rpath,/tmp", "libraries in a path of its own"},
		{"static", static + " -no-pie" + full + " -fno-stack-protector", "its C is compiled without"},
		{"static", static + " -no-pie" + full + " -U_FORTIFY_SOURCE", "its C is compiled without"},
		{"static", static + " -no-pie -Wl,-z,relro,-z,lazy", "no full RELRO"},
		{"static", "-no-pie -DSTATIC" + full, "has a loader"},
		{"static-pie", static + " -no-pie" + full, "is no PIE"},
		{"other", pie + full, "unknown kind"},
	} {
		t.Run(c.kind+c.args, func(t *testing.T) {
			out, err := exec.Command("./hardening", c.kind+":"+compile(t, c.args)).CombinedOutput()
			if (err == nil) != (c.missed == "") || !strings.Contains(string(out), c.missed) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	if out, err := exec.Command("./hardening", "static-go:/dev/null").CombinedOutput(); err == nil {
		t.Errorf("an empty file passes: %s", out)
	}
}
