// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"bytes"
	"encoding/json"
)

// members calls visit for each member of the object raw, in order, until visit returns false. The
// name is unescaped; value is a part of raw. Raw must have passed a scanner.
func members(raw []byte, visit func(name string, value []byte) bool) {
	pos := skipSpace(raw, 1)
	for raw[pos] != '}' {
		end := skipValue(raw, pos)
		name := unquote(raw[pos:end])
		pos = skipSpace(raw, end)   // at the colon
		pos = skipSpace(raw, pos+1) // at the value
		end = skipValue(raw, pos)   // behind it
		if !visit(name, raw[pos:end]) {
			return
		}
		pos = skipSpace(raw, end)
		if raw[pos] == ',' {
			pos = skipSpace(raw, pos+1)
		}
	}
}

// elements returns the elements of the array raw, as parts of it. Raw must have passed a scanner.
func elements(raw []byte) [][]byte {
	var all [][]byte
	pos := skipSpace(raw, 1)
	for raw[pos] != ']' {
		end := skipValue(raw, pos)
		all = append(all, raw[pos:end])
		pos = skipSpace(raw, end)
		if raw[pos] == ',' {
			pos = skipSpace(raw, pos+1)
		}
	}
	return all
}

// unquote returns the text of a JSON string.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return string(raw) // cannot be: the scanner has seen it
	}
	return text
}

func skipSpace(raw []byte, pos int) int {
	for isSpace(raw[pos]) {
		pos++
	}
	return pos
}

// skipValue returns the position behind the value at pos.
func skipValue(raw []byte, pos int) int {
	depth := 0
	for {
		switch raw[pos] {
		case '"':
			for pos++; raw[pos] != '"'; pos++ {
				if raw[pos] == '\\' {
					pos++
				}
			}
			pos++
		case '{', '[':
			depth++
			pos++
		case '}', ']':
			depth--
			pos++
		case ' ', '\t', '\r', '\n', ',', ':':
			pos++
			continue // between the values of a container
		default:
			for pos < len(raw) && !bytes.ContainsRune([]byte(" \t\r\n,]}"), rune(raw[pos])) {
				pos++
			}
		}
		if depth == 0 {
			return pos
		}
	}
}
