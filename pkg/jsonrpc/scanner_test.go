// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestScanner(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]verdict{
		``: incomplete, `  `: incomplete, `{`: incomplete, `{"a":1`: incomplete, `"\u12`: incomplete,
		`"\ud83d`: incomplete, "\"\xc3": incomplete, `tru`: incomplete, `-`: incomplete, `1.`: incomplete, `1e+`: incomplete,
		`{}`: complete, `[ ]`: complete, ` {"a":[1,-0.5e3,true,null,"\\\""],"b":{}} `: complete, `"\ud83d\ude00é"`: complete,
		`0`: complete, `12`: complete, `1.5 `: complete, `{}x`: complete, `"\u0000"`: complete,
		`{,}`: invalid, `{"a"}`: invalid, `{"a":}`: invalid, `{"a":1,}`: invalid, `[1,]`: invalid, `[,]`: invalid, `[1 2]`: invalid,
		`{1:2}`: invalid, `}`: invalid, `]`: invalid, `[}`: invalid, `{]`: invalid, `{"a":1]`: invalid, `[1}`: invalid,
		`'a'`: invalid, `nul1`: invalid, `-a`: invalid, `[01]`: invalid, `[1.]`: invalid, `[.5]`: invalid, `[+1]`: invalid,
		`"\x"`: invalid, `"\u12g4"`: invalid, `"\ud83dx"`: invalid, `"\ude00"`: invalid, `"\ud83d\u0041"`: invalid,
		"\"\x01\"": invalid, "\"\xff\"": invalid, "\"\xc3\"": invalid, "\x00": invalid, `/**/1`: invalid,
		strings.Repeat("[", 64):                           incomplete,
		strings.Repeat("[", 65):                           invalid,
		strings.Repeat("[", 64) + strings.Repeat("]", 64): complete,
		`{"a":` + strings.Repeat(`[{"a":`, 31) + `[1`:     incomplete,
		`{"a":` + strings.Repeat(`[{"a":`, 31) + `[[`:     invalid,
	} {
		var s scanner
		if got := s.scan([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// FuzzScanner holds the scanner against encoding/json, whole and byte by byte, and takes what it
// lets pass to pieces.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[1,2.5e-3,"\u00e9\ud83d\ude00"]}}`,
		`[{"id":"a\"b","method":"\u0061"},5,[],{}]`, `{"a":1,}`, `"\ud800"`, "\"\xc3\xa9\"", `-0.0e+1`, `[[[[]]]]`, `null `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var whole, slow scanner
		got := whole.scan(data)
		step := incomplete
		for i := 0; i <= len(data) && step == incomplete; i++ {
			step = slow.scan(data[:i])
		}
		if step != got && !startsWithNumber(data) {
			t.Fatalf("%q: at once %d, byte by byte %d", data, got, step)
		}
		if got != complete {
			if json.Valid(data) && utf8.Valid(data) && whole.depth < maxNesting && !strings.Contains(string(data), `\u`) {
				t.Fatalf("%q is good JSON, verdict %d", data, got)
			}
			return
		}
		value := data[:whole.pos]
		if !json.Valid(value) || !utf8.Valid(value) {
			t.Fatalf("%q is not good JSON", value)
		}
		value = value[skipSpace(value, 0):]
		if value[0] == '[' {
			var want []json.RawMessage
			if err := json.Unmarshal(value, &want); err != nil {
				t.Fatal(err)
			}
			for i, e := range elements(value) {
				if string(e) != string(want[i]) {
					t.Fatalf("element %d of %q is %q", i, value, e)
				}
				parseRequest(e)
			}
		}
		parseRequest(value)
	})
}

// startsWithNumber: a number at the top ends where the bytes end, so it depends on their number.
func startsWithNumber(data []byte) bool {
	s := strings.TrimLeft(string(data), " \t\r\n")
	return s != "" && strings.ContainsRune("-0123456789", rune(s[0]))
}
