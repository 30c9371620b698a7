// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"strconv"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// parse reads a field's value from text.
func parse(t *testing.T, fd protoreflect.FieldDescriptor, s string) protoreflect.Value {
	t.Helper()
	number := func(bits int) int64 {
		n, err := strconv.ParseInt(s, 10, bits)
		if err != nil {
			t.Fatalf("%s: %v", fd.Name(), err)
		}
		return n
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(s)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(s))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(number(32)))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(number(64))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(number(32)))
	}
	t.Fatalf("%s: no way to set a %s", fd.Name(), fd.Kind())
	return protoreflect.Value{}
}
