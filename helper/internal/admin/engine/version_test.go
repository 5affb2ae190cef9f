// SPDX-License-Identifier: Apache-2.0

package engine

import "testing"

func TestCheckVersion(t *testing.T) {
	for api, want := range map[string]string{
		"1.40": "the engine, 19.03, has API 1.40; berth needs 1.41 or newer (Docker Engine 20.10)",
		"1.5":  "the engine, 19.03, has API 1.5; berth needs 1.41 or newer (Docker Engine 20.10)",
		"1.41": "", "1.52": "", "2.0": "",
	} {
		if got := checkVersion("19.03", api); got != want {
			t.Errorf("%s: %q", api, got)
		}
	}
}
