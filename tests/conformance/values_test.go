// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// with returns a copy of m with the field at path set. Go values of the field's own type are taken;
// numbers may be written as int.
func with(t testing.TB, m proto.Message, path string, value any) proto.Message {
	t.Helper()
	m = proto.Clone(m)
	at := m.ProtoReflect()
	for {
		head, rest, deeper := strings.Cut(path, ".")
		fd := at.Descriptor().Fields().ByName(protoreflect.Name(head))
		if fd == nil {
			t.Fatalf("%s has no field %s", at.Descriptor().FullName(), head)
		}
		if !deeper {
			at.Set(fd, valueOf(t, fd, value))
			return m
		}
		at, path = at.Mutable(fd).Message(), rest
	}
}

func valueOf(t testing.TB, fd protoreflect.FieldDescriptor, value any) protoreflect.Value {
	t.Helper()
	n, isInt := value.(int)
	switch {
	case isInt && fd.Kind() == protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n))
	case isInt && fd.Kind() == protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case isInt && fd.Kind() == protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case isInt && fd.Kind() == protoreflect.MessageKind: // google.protobuf.Int32Value
		return protoreflect.ValueOfMessage(wrapperspb.Int32(int32(n)).ProtoReflect())
	case fd.Kind() == protoreflect.BytesKind:
		s, ok := value.(string)
		if !ok {
			t.Fatalf("%s takes a string", fd.FullName())
		}
		return protoreflect.ValueOfBytes([]byte(s))
	}
	return protoreflect.ValueOf(value)
}
