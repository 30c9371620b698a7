// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// checkShape refuses what would otherwise be silently dropped: fields that this build's API does not
// know, and known ones that the verb does nothing with.
func (h *handler) checkShape(req protoreflect.Message) error {
	var violations []errdefs.FieldViolation
	used := h.used()
	req.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !slices.Contains(used, fd) {
			violations = append(violations, errdefs.FieldViolation{
				Field: string(fd.Name()), Description: "has no effect on " + string(h.desc.Name()) + " here: leave it out",
			})
		}
		return true
	})
	return errdefs.Invalid(unknown(req, "", violations))
}

// unknown appends a violation for each message in m that holds fields which its type does not have.
func unknown(m protoreflect.Message, path string, violations []errdefs.FieldViolation) []errdefs.FieldViolation {
	if raw := m.GetUnknown(); len(raw) > 0 {
		number, _, _ := protowire.ConsumeTag(raw)
		violations = append(violations, errdefs.FieldViolation{
			Field:       join(path, "#"+strconv.Itoa(int(number))),
			Description: "is a field number that " + string(m.Descriptor().FullName()) + " does not have in this server's version of the API",
		})
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil || fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				violations = unknown(v.List().Get(i).Message(), join(path, string(fd.Name())), violations)
			}
		default:
			violations = unknown(v.Message(), join(path, string(fd.Name())), violations)
		}
		return true
	})
	return violations
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}
