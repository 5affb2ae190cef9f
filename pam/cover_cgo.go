// SPDX-License-Identifier: Apache-2.0

//go:build coverage

package main

import "C"

import "berth/test/coverage"

// berthFlush is called by main in program.c, which ends the process past Go.
//
//export berthFlush
func berthFlush() { coverage.Flush() }
