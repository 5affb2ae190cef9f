// SPDX-License-Identifier: Apache-2.0

// Gives memory back as a session does, and then works with all that the loader
// relocated: types, methods, tables of functions.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"berth/helper/internal/host/process"
)

func main() {
	process.Slim()
	runtime.GC()
	text, err := json.Marshal(map[string]any{"a": []int{1, 2}, "b": struct{ C error }{}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(text))
}
