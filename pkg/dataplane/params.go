// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// plan is how one parameter struct is read from JSON. It is made once per method from the struct's
// tags: `rpc:"name"` for an optional key, `rpc:"name,required"` for one that must be there. What
// kinds of value a key takes follows from the Go type of the field; a pointer tells absence apart.
//
// Reading is as strict as SPDK's: no key twice, no unknown key, no coercion between kinds, and
// whatever is wrong, the answer is one and the same, so that a plan reports failure without a reason.
type plan struct {
	fields []planField
	byName map[string]int
	// required has a bit for each field that must be present.
	required uint64
	// lenient plans skip unknown keys; nested objects stay strict.
	lenient bool
}

// planField reads one key into one struct field.
type planField struct {
	name     string
	index    int
	required bool
	kind     string
	nested   *plan
	decode   func(raw []byte, into reflect.Value) bool
}

// enum is a parameter that takes one of a few words, compared with case.
type enum interface{ words() []string }

// maxListItems is the longest list any parameter takes.
const maxListItems = 1024

// newPlan compiles the plan of a struct type. A type that has no plan is a mistake in the method
// table, found by the first test that builds it.
func newPlan(t reflect.Type) *plan {
	p := &plan{byName: make(map[string]int, t.NumField())}
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("rpc"), ",")
		f := planField{name: name, index: i, required: option == "required"}
		f.kind, f.decode, f.nested = decoderOf(t.Field(i).Type)
		if name == "" || f.decode == nil || i >= 64 {
			panic(fmt.Sprintf("dataplane: field %s of %s has no parameter decoder", t.Field(i).Name, t))
		}
		if f.required {
			p.required |= 1 << i
		}
		p.byName[name] = i
		p.fields = append(p.fields, f)
	}
	return p
}

// read decodes the object raw into the struct that v points to.
func (p *plan) read(raw []byte, v reflect.Value) bool {
	var seen uint64
	ok := eachMember(raw, func(key string, value []byte) bool {
		i, known := p.byName[key]
		if !known {
			return p.lenient
		}
		if seen&(1<<i) != 0 {
			return false
		}
		seen |= 1 << i
		return p.fields[i].decode(value, v.Field(p.fields[i].index))
	})
	return ok && seen&p.required == p.required
}

// decoderOf returns what a field of type t accepts: a word for it, and how to read it.
func decoderOf(t reflect.Type) (string, func([]byte, reflect.Value) bool, *plan) {
	if t.Kind() == reflect.Pointer {
		kind, decode, nested := decoderOf(t.Elem())
		if decode == nil {
			return "", nil, nil
		}
		return kind, func(raw []byte, into reflect.Value) bool {
			into.Set(reflect.New(t.Elem()))
			return decode(raw, into.Elem())
		}, nested
	}
	if t == reflect.TypeFor[uuid.UUID]() {
		return "uuid", decodeUUID, nil
	}
	if words, ok := reflect.TypeAssert[enum](reflect.Zero(t)); ok {
		return "enum", enumDecoder(words.words()), nil
	}
	switch t.Kind() {
	case reflect.String:
		return "string", decodeText, nil
	case reflect.Bool:
		return "bool", decodeBool, nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "unsigned", decodeUnsigned, nil
	case reflect.Int32:
		return "signed", decodeSigned, nil
	case reflect.Slice:
		kind, item, _ := decoderOf(t.Elem())
		if kind != "string" && kind != "enum" {
			return "", nil, nil
		}
		return "list", listDecoder(item), nil
	case reflect.Struct:
		nested := newPlan(t)
		return "object", nested.read, nested
	default:
		return "", nil, nil
	}
}

func decodeText(raw []byte, into reflect.Value) bool {
	s, ok := text(raw)
	if ok {
		into.SetString(s)
	}
	return ok
}

func decodeBool(raw []byte, into reflect.Value) bool {
	switch string(raw) {
	case "true":
		into.SetBool(true)
	case "false":
		into.SetBool(false)
	default:
		return false
	}
	return true
}

func decodeUnsigned(raw []byte, into reflect.Value) bool {
	n, negative, ok := wholeNumber(raw)
	if !ok || negative || into.OverflowUint(n) {
		return false
	}
	into.SetUint(n)
	return true
}

func decodeSigned(raw []byte, into reflect.Value) bool {
	n, negative, ok := wholeNumber(raw)
	if !ok || n > 1<<31 {
		return false
	}
	signed := int64(n)
	if negative {
		signed = -signed
	}
	if into.OverflowInt(signed) {
		return false
	}
	into.SetInt(signed)
	return true
}

// uuidLen is the length of a uuid in its one accepted form, groups joined by dashes.
const uuidLen = 36

func decodeUUID(raw []byte, into reflect.Value) bool {
	s, ok := text(raw)
	if !ok || len(s) != uuidLen {
		return false
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return false
	}
	into.Set(reflect.ValueOf(id))
	return true
}

func enumDecoder(words []string) func([]byte, reflect.Value) bool {
	return func(raw []byte, into reflect.Value) bool {
		s, ok := text(raw)
		if !ok {
			return false
		}
		if !slices.Contains(words, s) {
			return false
		}
		into.SetString(s)
		return true
	}
}

func listDecoder(item func([]byte, reflect.Value) bool) func([]byte, reflect.Value) bool {
	return func(raw []byte, into reflect.Value) bool {
		list := reflect.MakeSlice(into.Type(), 0, 8)
		ok := eachItem(raw, func(value []byte) bool {
			if list.Len() == maxListItems {
				return false
			}
			v := reflect.New(into.Type().Elem()).Elem()
			if !item(value, v) {
				return false
			}
			list = reflect.Append(list, v)
			return true
		})
		if ok {
			into.Set(list)
		}
		return ok
	}
}
