// SPDX-License-Identifier: Apache-2.0

package process

// Importing this package takes the caller's GO* variables away before the Go
// runtime could read them (environ.c).

/*
#cgo CFLAGS: -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2
*/
import "C"
