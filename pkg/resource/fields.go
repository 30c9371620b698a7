// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// behaves says whether the field is annotated with that google.api.field_behavior (AIP-203).
func behaves(fd protoreflect.FieldDescriptor, want annotations.FieldBehavior) bool {
	all, ok := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(all, want)
}

// ClearOutputOnly removes what clients cannot set: AIP-203 has servers ignore it. The name is not
// touched.
func ClearOutputOnly(m proto.Message) { clearOutputOnly(m.ProtoReflect()) }

func clearOutputOnly(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY):
			m.Clear(fd)
		case fd.Message() != nil && !fd.IsList() && !fd.IsMap():
			clearOutputOnly(v.Message())
		}
		return true
	})
}

// Leaves calls visit with the path of every settable field of a message type that is not itself a
// message of the API, in the order of declaration; the name and output-only fields are left out.
func Leaves(desc protoreflect.MessageDescriptor, visit func(path string, fd protoreflect.FieldDescriptor)) {
	leaves(desc, "", visit)
}

func leaves(desc protoreflect.MessageDescriptor, prefix string, visit func(string, protoreflect.FieldDescriptor)) {
	fields := desc.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY) || behaves(fd, annotations.FieldBehavior_IDENTIFIER) {
			continue
		}
		path := prefix + string(fd.Name())
		if composite(fd) {
			leaves(fd.Message(), path+".", visit)
			continue
		}
		visit(path, fd)
	}
}

// composite says whether a field holds a message of the API, whose own fields count; wrappers of
// scalars (google.protobuf.Int32Value) and lists are values.
func composite(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsList() && !fd.IsMap() &&
		!strings.HasPrefix(string(fd.Message().FullName()), "google.protobuf.")
}

// lookup returns the value at path and whether it is set.
func lookup(m protoreflect.Message, path string) (protoreflect.Value, bool) {
	for {
		head, rest, deeper := strings.Cut(path, ".")
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(head))
		if fd == nil || !m.Has(fd) {
			return protoreflect.Value{}, false
		}
		if !deeper {
			return m.Get(fd), true
		}
		m, path = m.Get(fd).Message(), rest
	}
}

// Changed lists the paths of settable fields in which a and b, messages of one type, differ.
func Changed(a, b proto.Message) []string {
	var paths []string
	Leaves(a.ProtoReflect().Descriptor(), func(path string, _ protoreflect.FieldDescriptor) {
		va, okA := lookup(a.ProtoReflect(), path)
		vb, okB := lookup(b.ProtoReflect(), path)
		if okA != okB || okA && !va.Equal(vb) {
			paths = append(paths, path)
		}
	})
	return paths
}

// Masked returns a copy of prior with the fields named by mask taken from update (AIP-134). A nil
// mask stands for the fields that are set in update, "*" for all. Paths that do not exist, or name
// the resource's name or output-only fields, are refused.
func (k *Kind) Masked(prior, update proto.Message, mask []string) (proto.Message, error) {
	if slices.Contains(mask, "*") {
		if len(mask) > 1 {
			return nil, errdefs.InvalidField("update_mask", "\"*\" must stand alone")
		}
		return proto.Clone(update), nil
	}
	result := proto.Clone(prior)
	if mask == nil {
		Leaves(k.Message(), func(path string, _ protoreflect.FieldDescriptor) {
			if _, ok := lookup(update.ProtoReflect(), path); ok {
				mask = append(mask, path)
			}
		})
	}
	var v Violations
	for _, path := range mask {
		if reason := k.assign(result.ProtoReflect(), update.ProtoReflect(), path); reason != "" {
			v.Check(false, "update_mask", "%q %s", path, reason)
		}
	}
	return result, v.Err()
}

// assign copies the field at path from one message to the other and returns "", or says why not.
func (k *Kind) assign(to, from protoreflect.Message, path string) string {
	for {
		head, rest, deeper := strings.Cut(path, ".")
		fd := to.Descriptor().Fields().ByName(protoreflect.Name(head))
		switch {
		case fd == nil:
			return "is not a field of " + string(k.Message().Name()) + ": use proto field names joined by dots"
		case behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY):
			return "is set by the server only"
		case behaves(fd, annotations.FieldBehavior_IDENTIFIER):
			return "cannot be changed: a resource keeps its name"
		case deeper && !composite(fd):
			return "has no fields below " + head
		}
		if !deeper {
			if from.Has(fd) {
				to.Set(fd, from.Get(fd))
			} else {
				to.Clear(fd)
			}
			return ""
		}
		if !from.Has(fd) && !to.Has(fd) {
			return ""
		}
		to, from, path = to.Mutable(fd).Message(), from.Get(fd).Message(), rest
	}
}
