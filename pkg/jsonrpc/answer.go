// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// appendAnswer appends one answer without the newline behind it: compact, members in SPDK's order.
// A nil id is null. Body is the encoded result or error.
func appendAnswer(dst []byte, id json.RawMessage, kind string, body []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	if id == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, id...)
	}
	dst = append(dst, ',', '"')
	dst = append(dst, kind...)
	dst = append(dst, '"', ':')
	dst = append(dst, body...)
	return append(dst, '}')
}

// encode returns v as compact JSON in plain ASCII, as SPDK writes it.
func encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case bool:
		if v {
			return []byte("true"), nil
		}
		return []byte("false"), nil
	case nil:
		return []byte("null"), nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return toASCII(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// toASCII returns the valid JSON src with every character above '~' written as an escape.
func toASCII(src []byte) []byte {
	i := 0
	for i < len(src) && src[i] < 0x7f {
		i++
	}
	if i == len(src) {
		return src
	}
	dst := append(make([]byte, 0, len(src)*2), src[:i]...)
	for i < len(src) {
		if c := src[i]; c < 0x7f {
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(src[i:])
		i += n
		switch {
		case r < 0x10000:
			dst = fmt.Appendf(dst, `\u%04X`, r)
		default:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04X\u%04X`, high, low)
		}
	}
	return dst
}
