// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"slices"

	"google.golang.org/genproto/googleapis/api/annotations"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// statusMessage is what errors are.
func statusMessage() protoreflect.MessageDescriptor {
	return (&rpcstatus.Status{}).ProtoReflect().Descriptor()
}

// ref returns a reference to the schema of a message, or the schema itself where JSON has a form of its
// own for the message.
func (w *writer) ref(m protoreflect.MessageDescriptor) object {
	if own := wellKnown(m.FullName()); own != nil {
		return own
	}
	w.schema(m)
	return object{"$ref": "#/components/schemas/" + string(m.FullName())}
}

// schema adds the schema of a message, and of all that it holds.
func (w *writer) schema(m protoreflect.MessageDescriptor) {
	name := string(m.FullName())
	if _, done := w.schemas[name]; done {
		return
	}
	properties, required := object{}, []string{}
	schema := object{"type": "object", "properties": properties, "additionalProperties": false}
	w.schemas[name] = schema
	for i := range m.Fields().Len() {
		fd := m.Fields().Get(i)
		property := w.field(fd)
		marks, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
		if slices.Contains(marks, annotations.FieldBehavior_OUTPUT_ONLY) {
			if property["$ref"] != nil {
				property = object{"allOf": []object{property}} // beside a reference nothing counts
			}
			property["readOnly"] = true
		} else if slices.Contains(marks, annotations.FieldBehavior_REQUIRED) {
			required = append(required, fd.JSONName())
		}
		properties[fd.JSONName()] = property
	}
	if len(required) > 0 {
		schema["required"] = required
	}
}

// field returns the schema of a field.
func (w *writer) field(fd protoreflect.FieldDescriptor) object {
	switch {
	case fd.IsMap():
		return object{"type": "object", "additionalProperties": w.value(fd.MapValue())}
	case fd.IsList():
		return object{"type": "array", "items": w.value(fd)}
	}
	return w.value(fd)
}

// value returns the schema of one value of a field, in the proto3 JSON mapping.
func (w *writer) value(fd protoreflect.FieldDescriptor) object {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return object{"type": "integer", "format": "int32"}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return object{"type": "integer", "format": "int64", "minimum": 0}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return object{"type": "string", "format": "int64"}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return object{"type": "string", "format": "uint64"}
	case protoreflect.FloatKind:
		return object{"type": "number", "format": "float"}
	case protoreflect.DoubleKind:
		return object{"type": "number", "format": "double"}
	case protoreflect.BytesKind:
		return object{"type": "string", "format": "byte"}
	case protoreflect.EnumKind:
		return object{"type": "string", "enum": values(fd.Enum())}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.ref(fd.Message())
	case protoreflect.StringKind:
	}
	return object{"type": "string"}
}

// values lists the names of an enum's values.
func values(enum protoreflect.EnumDescriptor) []string {
	names := make([]string, enum.Values().Len())
	for i := range names {
		names[i] = string(enum.Values().Get(i).Name())
	}
	return names
}

// wellKnown returns the schema of a message for which JSON has a form of its own, else nil.
func wellKnown(name protoreflect.FullName) object {
	switch name {
	case "google.protobuf.Timestamp":
		return object{"type": "string", "format": "date-time"}
	case "google.protobuf.Duration", "google.protobuf.FieldMask":
		return object{"type": "string"}
	case "google.protobuf.Empty":
		return object{"type": "object", "additionalProperties": false}
	case "google.protobuf.Any":
		return object{"type": "object", "properties": object{"@type": object{"type": "string"}}, "additionalProperties": true}
	case "google.protobuf.BoolValue":
		return object{"type": "boolean", "nullable": true}
	case "google.protobuf.Int32Value":
		return object{"type": "integer", "format": "int32", "nullable": true}
	case "google.protobuf.UInt32Value":
		return object{"type": "integer", "format": "int64", "minimum": 0, "nullable": true}
	case "google.protobuf.Int64Value", "google.protobuf.UInt64Value":
		return object{"type": "string", "nullable": true}
	case "google.protobuf.StringValue":
		return object{"type": "string", "nullable": true}
	case "google.protobuf.BytesValue":
		return object{"type": "string", "format": "byte", "nullable": true}
	case "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return object{"type": "number", "nullable": true}
	}
	return nil
}
