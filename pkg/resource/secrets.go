// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// Secrets are ordinary fields of a message while a kind looks at it. They leave it in two places
// only: before it is stored (Record.Encode) and before it is given out (Kind.Live).

// secretPaths resolves the declared paths of secret fields.
func secretPaths(desc protoreflect.MessageDescriptor, paths []string) ([][]protoreflect.FieldDescriptor, error) {
	var all [][]protoreflect.FieldDescriptor
	for _, path := range paths {
		var fields []protoreflect.FieldDescriptor
		at := desc
		for part := range strings.SplitSeq(path, ".") {
			if at == nil {
				return nil, fmt.Errorf("secret %s of %s has no field below a scalar", path, desc.FullName())
			}
			fd := at.Fields().ByName(protoreflect.Name(part))
			if fd == nil {
				return nil, fmt.Errorf("secret %s of %s is not a field", path, desc.FullName())
			}
			fields, at = append(fields, fd), fd.Message()
		}
		if fields[len(fields)-1].Kind() != protoreflect.BytesKind {
			return nil, fmt.Errorf("secret %s of %s must be of type bytes", path, desc.FullName())
		}
		all = append(all, fields)
	}
	return all, nil
}

// HasSecrets says whether a message of the kind holds any secret.
func (k *Kind) HasSecrets(m proto.Message) bool {
	for _, path := range k.secrets {
		if holder := follow(m.ProtoReflect(), path); holder != nil && holder.Has(path[len(path)-1]) {
			return true
		}
	}
	return false
}

// takeSecrets removes the secrets from a message and returns them by path; nil when there are none.
func (k *Kind) takeSecrets(m proto.Message) map[string]secret.Value {
	var taken map[string]secret.Value
	for _, path := range k.secrets {
		holder, field := follow(m.ProtoReflect(), path), path[len(path)-1]
		if holder == nil || !holder.Has(field) {
			continue
		}
		if taken == nil {
			taken = map[string]secret.Value{}
		}
		taken[dotted(path)] = secret.New(holder.Get(field).Bytes())
		holder.Clear(field)
	}
	return taken
}

// putSecrets is the reverse of takeSecrets.
func (k *Kind) putSecrets(m proto.Message, values map[string]secret.Value) {
	for _, path := range k.secrets {
		value, ok := values[dotted(path)]
		if !ok {
			continue
		}
		holder := m.ProtoReflect()
		for _, fd := range path[:len(path)-1] {
			holder = holder.Mutable(fd).Message()
		}
		holder.Set(path[len(path)-1], protoreflect.ValueOfBytes(value.Reveal()))
	}
}

// keepSecrets gives m the secrets of prior that it does not have itself.
func (k *Kind) keepSecrets(m, prior proto.Message) {
	if prior == nil || len(k.secrets) == 0 {
		return
	}
	own := k.takeSecrets(m)
	kept := k.takeSecrets(proto.Clone(prior))
	for path, value := range own {
		if kept == nil {
			kept = map[string]secret.Value{}
		}
		kept[path] = value
	}
	k.putSecrets(m, kept)
}

// follow returns the message that holds the last field of path, or nil when it is not there.
func follow(m protoreflect.Message, path []protoreflect.FieldDescriptor) protoreflect.Message {
	for _, fd := range path[:len(path)-1] {
		if !m.Has(fd) {
			return nil
		}
		m = m.Get(fd).Message()
	}
	return m
}

func dotted(path []protoreflect.FieldDescriptor) string {
	names := make([]string, len(path))
	for i, fd := range path {
		names[i] = string(fd.Name())
	}
	return strings.Join(names, ".")
}
