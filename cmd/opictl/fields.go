// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxFile bounds files that are read for a value or a resource, in bytes.
const maxFile = 4 << 20

// assign sets fields of a resource from arguments of the form path=value and returns the paths. Paths
// are proto names joined by dots. Values are numbers, true and false, texts, the names of enum values
// (their common beginning may be left out), base64 or @file for bytes, JSON for messages; an empty
// value clears the field; a list field may be given several times.
func assign(m protoreflect.Message, args []string) ([]string, error) {
	var paths []string
	for _, arg := range args {
		path, value, ok := strings.Cut(arg, "=")
		if !ok || path == "" {
			return nil, usagef("%q: want field=value", arg)
		}
		again := slices.Contains(paths, path)
		if err := set(m, path, value, again); err != nil {
			return nil, err
		}
		if !again {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// set sets the field at path. again says that it was set before, which lists only allow.
func set(m protoreflect.Message, path, value string, again bool) error {
	at, rest := m, path
	for {
		head, below, deeper := strings.Cut(rest, ".")
		fd := at.Descriptor().Fields().ByName(protoreflect.Name(head))
		if fd == nil {
			return usagef("%s: %s has no field %q; it has %s", path, at.Descriptor().Name(), head, strings.Join(fieldNames(at.Descriptor()), ", "))
		}
		if !deeper {
			return setField(at, fd, path, value, again)
		}
		if fd.Message() == nil || fd.IsList() || fd.IsMap() {
			return usagef("%s: %s has no fields below it", path, head)
		}
		at, rest = at.Mutable(fd).Message(), below
	}
}

func setField(m protoreflect.Message, fd protoreflect.FieldDescriptor, path, value string, again bool) error {
	switch {
	case again && !fd.IsList():
		return usagef("%s is given twice", path)
	case fd.IsMap():
		return usagef("%s cannot be given here, use -f", path)
	case value == "":
		m.Clear(fd)
		return nil
	}
	v, err := parseValue(m, fd, value)
	if err != nil {
		return usagef("%s: %w", path, err)
	}
	if !fd.IsList() {
		m.Set(fd, v)
		return nil
	}
	m.Mutable(fd).List().Append(v)
	return nil
}

// parseValue returns a value, or an element of a list. Errors do not repeat the value of bytes.
func parseValue(m protoreflect.Message, fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	var none protoreflect.Value
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BoolKind:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return none, fmt.Errorf("%q is neither true nor false", text)
		}
		return protoreflect.ValueOfBool(b), nil
	case protoreflect.EnumKind:
		return parseEnum(fd.Enum(), text)
	case protoreflect.BytesKind:
		return parseBytes(text)
	case protoreflect.MessageKind, protoreflect.GroupKind:
		var value protoreflect.Value
		if fd.IsList() {
			value = m.Mutable(fd).List().NewElement()
		} else {
			value = m.NewField(fd)
		}
		if err := protojson.Unmarshal([]byte(text), value.Message().Interface()); err != nil {
			return none, fmt.Errorf("want %s as JSON: %w", fd.Message().Name(), err)
		}
		return value, nil
	default:
		return parseNumber(fd.Kind(), text)
	}
}

func parseNumber(kind protoreflect.Kind, text string) (protoreflect.Value, error) {
	var none protoreflect.Value
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := strconv.ParseInt(text, 0, 32)
		if err != nil {
			return none, fmt.Errorf("%q is not a whole number of 32 bits", text)
		}
		return protoreflect.ValueOfInt32(int32(n)), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return none, fmt.Errorf("%q is not a whole number of 64 bits", text)
		}
		return protoreflect.ValueOfInt64(n), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := strconv.ParseUint(text, 0, 32)
		if err != nil {
			return none, fmt.Errorf("%q is not a whole number from 0 of 32 bits", text)
		}
		return protoreflect.ValueOfUint32(uint32(n)), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			return none, fmt.Errorf("%q is not a whole number from 0 of 64 bits", text)
		}
		return protoreflect.ValueOfUint64(n), nil
	default:
		return none, fmt.Errorf("fields of type %s cannot be given here, use -f", kind)
	}
}

// parseEnum takes the name of a value, in any case, with or without what all names begin with.
func parseEnum(enum protoreflect.EnumDescriptor, text string) (protoreflect.Value, error) {
	prefix := strings.TrimSuffix(string(enum.Values().Get(0).Name()), "UNSPECIFIED")
	var short []string
	for i := range enum.Values().Len() {
		value := enum.Values().Get(i)
		name := string(value.Name())
		if strings.EqualFold(text, name) || strings.EqualFold(text, strings.TrimPrefix(name, prefix)) {
			return protoreflect.ValueOfEnum(value.Number()), nil
		}
		if i > 0 {
			short = append(short, strings.TrimPrefix(name, prefix))
		}
	}
	return protoreflect.Value{}, fmt.Errorf("%q is none of %s", text, strings.Join(short, ", "))
}

func parseBytes(text string) (protoreflect.Value, error) {
	if path, ok := strings.CutPrefix(text, "@"); ok {
		raw, err := readFile(path)
		return protoreflect.ValueOfBytes(raw), err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return protoreflect.Value{}, fmt.Errorf("want base64, or @file (which keeps a secret out of the list of processes)")
	}
	return protoreflect.ValueOfBytes(raw), nil
}

// readFile reads a whole file of bounded size.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return readBounded(file, path)
}

func readBounded(r io.Reader, what string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", what, maxFile)
	}
	return raw, err
}

// fieldNames lists the fields of a message that clients set.
func fieldNames(desc protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range desc.Fields().Len() {
		if fd := desc.Fields().Get(i); !behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY) && !behaves(fd, annotations.FieldBehavior_IDENTIFIER) {
			names = append(names, string(fd.Name()))
		}
	}
	return names
}

// behaves says whether a field is marked with that behaviour (AIP-203).
func behaves(fd protoreflect.FieldDescriptor, want annotations.FieldBehavior) bool {
	all, ok := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(all, want)
}
