// SPDX-License-Identifier: Apache-2.0

package home

import "testing"

// FuzzLoginDefs: whatever stands in it, a mode that is found is one, other lines
// and comments do not change it, and the administrator's plain line is found.
func FuzzLoginDefs(f *testing.F) {
	for _, seed := range []string{
		"", "UMASK 022\n", "UMASK\t\t077\nHOME_MODE 0700", "HOME_MODE 7777\nUMASK -1\n", "#UMASK 077\n", "UMASK\n", "UMASK 0x1f", "UMASK 077 # ours\r\n",
		"HOME_MODE \"0700\"\n", "\x00UMASK 000\n", "UMASK\u00a0077\n", "HOME_MODE 00000000000000000000000000700\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for key, other := range map[string]string{"UMASK": "HOME_MODE", "HOME_MODE": "UMASK"} {
			mode, found := octal(text, key)
			if mode > 0o777 || !found && mode != 0 {
				t.Errorf("%s %o, %v of %q", key, mode, found, text)
			}
			if m, ok := octal("# "+key+" 0123\n"+other+" 0321\n"+text, key); m != mode || ok != found {
				t.Errorf("%s: with other lines %o, alone %o: %q", key, m, mode, text)
			}
			if m, ok := octal(text+"\n"+key+"\t0123", key); !ok || !found && m != 0o123 {
				t.Errorf("%s 0123 is read as %o behind %q", key, m, text)
			}
		}
	})
}
