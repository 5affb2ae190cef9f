// SPDX-License-Identifier: Apache-2.0

// Package sshd is berth's part of sshd's configuration where nobody may forward anything.
// `berth sshd-config` puts in front of it what the profiles of berth.toml may.
package sshd

import _ "embed"

// DropIn is the text of 50-berth.conf.
//
//go:embed 50-berth.conf
var DropIn string
