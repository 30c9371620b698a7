// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// xtsKey returns a key of n bytes with two different halves.
func xtsKey(n int) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func function(port, physical, virtual int32) *pb.PciEndpoint {
	return &pb.PciEndpoint{PortId: wrapperspb.Int32(port), PhysicalFunction: wrapperspb.Int32(physical), VirtualFunction: wrapperspb.Int32(virtual)}
}

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

// zeroPSK returns a pre-shared key of n zero bytes in the interchange format.
func zeroPSK(n int) string {
	raw := make([]byte, n, n+crc32.Size)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	hash := map[int]string{32: "01", 48: "02", 16: "01"}[n]
	return "NVMeTLSkey-1:" + hash + ":" + base64.StdEncoding.EncodeToString(raw) + ":"
}
