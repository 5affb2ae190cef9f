// SPDX-License-Identifier: Apache-2.0

package lifeline

import (
	"encoding/binary"
	"errors"
	"strings"
)

// A body is a list of fields, each `key=value` behind four bytes of length. A
// value may hold any byte: a command line is not always text.

// Field is one entry of a frame's body. A key may come more than once.
type Field struct{ Key, Value string }

// ErrMalformed is a body that is not a list of fields.
var ErrMalformed = errors.New("malformed frame")

// Pack encodes fields.
func Pack(fields []Field) []byte {
	var body []byte
	for _, f := range fields {
		body = binary.BigEndian.AppendUint32(body, uint32(len(f.Key)+1+len(f.Value)))
		body = append(body, f.Key...)
		body = append(body, '=')
		body = append(body, f.Value...)
	}
	return body
}

// Unpack decodes what Pack made. It allocates no more than len(body) asks for.
func Unpack(body []byte) ([]Field, error) {
	var fields []Field
	for len(body) > 0 {
		if len(body) < 4 {
			return nil, ErrMalformed
		}
		size := binary.BigEndian.Uint32(body)
		body = body[4:]
		if uint64(size) > uint64(len(body)) {
			return nil, ErrMalformed
		}
		key, value, found := strings.Cut(string(body[:size]), "=")
		if !found || key == "" {
			return nil, ErrMalformed
		}
		fields = append(fields, Field{key, value})
		body = body[size:]
	}
	return fields, nil
}
