// SPDX-License-Identifier: Apache-2.0

//go:build coverage

package main

import _ "berth/test/coverage"
