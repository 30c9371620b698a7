// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// maskPaths returns the paths of an update mask for messages of that type: nil where there is no mask
// or it has no paths (AIP-134: all fields that are set), "*" alone for all fields, otherwise the
// paths in order, without repetitions and without those below another.
//
// The name and output-only fields are left out: an update cannot change them, and a client that sends
// back the whole of what it got, over REST say, names them without meaning to. If nothing else
// remains the mask is empty but not nil, and means that nothing changes.
func maskPaths(field string, mask *fieldmaskpb.FieldMask, desc protoreflect.MessageDescriptor) ([]string, error) {
	if len(mask.GetPaths()) == 0 {
		return nil, nil
	}
	var violations []errdefs.FieldViolation
	refuse := func(description string) {
		violations = append(violations, errdefs.FieldViolation{Field: field, Description: description})
	}
	paths := []string{}
	for _, path := range mask.GetPaths() {
		switch proper, reason := find(desc, path); {
		case path == "*":
			if len(mask.GetPaths()) > 1 {
				refuse(`"*" stands for all fields and must be the only path`)
			}
			paths = append(paths, path)
		case reason != "":
			refuse(reason)
		case proper != "":
			paths = append(paths, proper)
		}
	}
	if len(violations) > 0 {
		return nil, errdefs.Invalid(violations)
	}
	slices.Sort(paths)
	kept := paths[:0]
	for _, path := range paths {
		covered := slices.ContainsFunc(kept, func(k string) bool { return k == path || strings.HasPrefix(path, k+".") })
		if !covered {
			kept = append(kept, path)
		}
	}
	return kept, nil
}

// find returns the path of the field at path, in proto names, or why there is none. Each name may be the
// field's JSON name as well, which is what a mask has in JSON. A field that clients cannot change is
// neither found nor refused.
func find(desc protoreflect.MessageDescriptor, path string) (proper, reason string) {
	if path == "" {
		return "", "holds an empty path: name a field, or leave out the mask to update the fields that are set"
	}
	var found protoreflect.FieldDescriptor
	var names []string
	at, rest, deeper := desc, path, true
	for deeper {
		if at == nil || found != nil && (found.IsList() || found.IsMap()) {
			return "", strconv.Quote(path) + " goes below " + string(found.Name()) + ", which has no fields that can be named"
		}
		var head string
		head, rest, deeper = strings.Cut(rest, ".")
		if found = at.Fields().ByName(protoreflect.Name(head)); found == nil {
			found = at.Fields().ByJSONName(head)
		}
		if found == nil {
			return "", strconv.Quote(path) + " is not a field of " + string(desc.Name()) + ": use the names of fields joined by dots"
		}
		if fixed(found) && (found.Message() != nil || !deeper) {
			return "", ""
		}
		at, names = found.Message(), append(names, string(found.Name()))
	}
	return strings.Join(names, "."), ""
}

// fixed says whether the API marks a field as one that clients do not set in an update.
func fixed(fd protoreflect.FieldDescriptor) bool {
	marks, ok := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && (slices.Contains(marks, annotations.FieldBehavior_OUTPUT_ONLY) ||
		slices.Contains(marks, annotations.FieldBehavior_IDENTIFIER))
}
