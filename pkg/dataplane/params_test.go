// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"reflect"
	"testing"

	"github.com/google/uuid"
)

type testParams struct {
	Text   string    `rpc:"text"`
	Small  uint8     `rpc:"small"`
	Large  uint64    `rpc:"large"`
	Signed int32     `rpc:"signed"`
	Flag   *bool     `rpc:"flag"`
	ID     uuid.UUID `rpc:"id"`
	Level  logLevel  `rpc:"level"`
	Names  []string  `rpc:"names"`
	Inner  struct {
		A uint32 `rpc:"a,required"`
	} `rpc:"inner"`
}

func TestReadParams(t *testing.T) {
	t.Parallel()
	p := newPlan(reflect.TypeFor[testParams]())
	for _, row := range []struct {
		raw   string
		right bool
	}{
		{`{}`, true},
		{` {}`, false}, // the server strips what stands around a value
		{`{ "text" : "a\nb" , "flag":true }`, true},
		{`{"text":"\u0000"}`, false},
		{`{"small":255}`, true},
		{`{"small":256}`, false},
		{`{"small":2.55e2}`, true},
		{`{"small":2.55e1}`, false},
		{`{"small":-0}`, false},
		{`{"large":18446744073709551615}`, true},
		{`{"large":1844674407370955161.5e1}`, true},
		{`{"large":18446744073709551616}`, false},
		{`{"large":1e19}`, true},
		{`{"large":1e20}`, false},
		{`{"large":0e999}`, true},
		{`{"large":1000.0}`, true},
		{`{"large":1000e-3}`, true},
		{`{"large":1e-1}`, false},
		{`{"signed":-2147483648}`, true},
		{`{"signed":-2147483649}`, false},
		{`{"signed":2147483648}`, false},
		{`{"flag":0}`, false},
		{`{"flag":null}`, false},
		{`{"id":"ABCDEF01-2345-4789-8ABC-DEF012345678"}`, true},
		{`{"id":"abcdef0123454789-8abc-def012345678"}`, false},
		{`{"id":"{bcdef01-2345-4789-8abc-def01234567}"}`, false},
		{`{"level":"INFO"}`, true},
		{`{"level":"info"}`, false},
		{`{"names":["a","b"]}`, true},
		{`{"names":["a",1]}`, false},
		{`{"names":"a"}`, false},
		{`{"inner":{"a":1}}`, true},
		{`{"inner":{}}`, false},
		{`{"inner":{"a":1,"b":2}}`, false},
		{`{"text":"x","text":"x"}`, false},
		{`{"te\u0078t":"x"}`, true},
		{`{"Text":"x"}`, false},
		{`[]`, false},
	} {
		var got testParams
		if right := p.read([]byte(row.raw), reflect.ValueOf(&got).Elem()); right != row.right {
			t.Errorf("%s: read %t, want %t", row.raw, right, row.right)
		}
	}
}

// FuzzReadParams gives the reader text that no scanner has seen: it must stay within it.
func FuzzReadParams(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a","inner":{"a":1},"names":["a","b"],"large":1.5e3}`, `{"text":"\`, `{"a":[{"b":"}"}]}`, `{,}`, `{"a"}`,
	} {
		f.Add([]byte(seed))
	}
	p := newPlan(reflect.TypeFor[testParams]())
	f.Fuzz(func(_ *testing.T, raw []byte) {
		var got testParams
		p.read(raw, reflect.ValueOf(&got).Elem())
	})
}
