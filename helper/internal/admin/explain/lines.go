// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// lines returns the line in which each key of a TOML file stands. A table within a list of
// tables counts as a key of the list's name; the first counts. The policy's own reader
// (BurntSushi/toml) does not say where a key is.
func lines(file []byte) (map[string]int, error) {
	found := map[string]int{}
	note := func(p *unstable.Parser, key []string, node *unstable.Node) {
		name := strings.Join(key, ".")
		if _, known := found[name]; !known {
			found[name] = p.Shape(node.Raw).Start.Line
		}
	}
	p := &unstable.Parser{}
	p.Reset(file)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			var first *unstable.Node
			table, first = words(e.Key())
			note(p, table, first)
		case unstable.KeyValue:
			name, first := words(e.Key())
			note(p, append(table[:len(table):len(table)], name...), first)
		}
	}
	if err := p.Error(); err != nil {
		return nil, fmt.Errorf("berth.toml: %w", err)
	}
	return found, nil
}

// words returns a dotted key's parts, and the node of the first.
func words(parts unstable.Iterator) (words []string, first *unstable.Node) {
	for parts.Next() {
		node := parts.Node()
		if first == nil {
			first = node
		}
		words = append(words, string(node.Data))
	}
	return words, first
}
