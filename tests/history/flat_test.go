// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// flat is a message as a table from field paths to texts, without fields that are not set.
type flat map[string]string

// flatten makes a table of what clients set in a message.
func flatten(m proto.Message) flat {
	m = proto.Clone(m)
	resource.ClearOutputOnly(m)
	f := flat{}
	flattenInto(f, "", m.ProtoReflect())
	delete(f, "name")
	return f
}

func flattenInto(f flat, prefix string, m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := prefix + string(fd.Name())
		if fd.Kind() == protoreflect.BytesKind {
			f[path] = string(v.Bytes())
		} else if fd.Kind() == protoreflect.MessageKind && !fd.IsList() && !fd.IsMap() {
			flattenInto(f, path+".", v.Message())
		} else {
			f[path] = v.String()
		}
		return true
	})
}

// under says whether a path is the other or lies below it.
func under(path, top string) bool { return path == top || strings.HasPrefix(path, top+".") }

func underAny(path string, tops []string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return under(path, top) })
}

// without returns a copy without some fields.
func (f flat) without(tops []string) flat {
	g := maps.Clone(f)
	maps.DeleteFunc(g, func(path, _ string) bool { return underAny(path, tops) })
	return g
}

// differs lists the paths in which asked differs from f; those of open say nothing when they are not
// set in asked.
func (f flat) differs(asked flat, open []string) []string {
	var paths []string
	for path, value := range f {
		if got, set := asked[path]; got != value && (set || !underAny(path, open)) {
			paths = append(paths, path)
		}
	}
	for path := range asked {
		if _, set := f[path]; !set {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// masked returns f changed as an update with body and mask asks for; open fields stay when the body
// does not set them.
func (f flat) masked(body flat, mask, open []string) flat {
	next := maps.Clone(f)
	switch {
	case mask == nil:
		maps.Copy(next, body)
		return next
	case len(mask) == 1 && mask[0] == "*":
		mask = slices.Concat(slices.Collect(maps.Keys(f)), slices.Collect(maps.Keys(body)))
	}
	for path := range f {
		if _, set := body[path]; underAny(path, mask) && !set && !underAny(path, open) {
			delete(next, path)
		}
	}
	for path, value := range body {
		if underAny(path, mask) {
			next[path] = value
		}
	}
	return next
}

func (f flat) String() string {
	parts := make([]string, 0, len(f))
	for _, path := range slices.Sorted(maps.Keys(f)) {
		parts = append(parts, fmt.Sprintf("%s=%s", path, f[path]))
	}
	return "{" + strings.Join(parts, " ") + "}"
}
