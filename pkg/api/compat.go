// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// compat makes the storage services understand the clients of opi-spdk-bridge, and answer as they
// expect. All of it happens to the messages, before and after the handlers, which know nothing of it:
//
//   - Names. That bridge calls volumes, virtio-blk devices and all that is SCSI "volumes/<id>". Such
//     names are given back, and taken beside the API's own ones and bare ids.
//   - References. volume_name_ref may be "volumes/<id>", target_name_ref that or a bare id. They lead
//     to the first kind that has the id.
//   - A parent of what has none is not looked at, nor the name in a create.
//   - Fields that it takes and ignores, where its clients' tests send them (see ignored).
//   - "*" in an update mask leaves fields alone that are unset and cannot be changed.
//   - Updates that need a new object make one, as that bridge does, unless it is in use (see replace).
//   - A reset of a remote controller without paths succeeds.
type compat struct {
	engine Engine
	kinds  []*resource.Kind
}

// volumeCollection is the one collection of that bridge's volumes and virtio devices.
const volumeCollection = "volumes"

// newCompat returns a translator for the kinds of that engine.
func newCompat(engine Engine) *compat { return &compat{engine: engine, kinds: engine.Kinds()} }

// inVolumes says whether that bridge keeps the kind among its volumes.
func inVolumes(kind *resource.Kind) bool {
	return slices.Contains([]string{
		"nullVolumes", "mallocVolumes", "aioVolumes", "encryptedVolumes", "qosVolumes",
		"virtioBlks", "virtioScsiTargets", "virtioScsiControllers", "virtioScsiLuns",
	}, kind.Plural())
}

// native returns the API's own form of a name of that kind.
func (c *compat) native(kind *resource.Kind, name string) string {
	if kind.ParentPattern() != "" || name == "" {
		return name
	}
	collection, id, found := strings.Cut(name, "/")
	switch {
	case !found:
		return string(kind.Join("", name))
	case collection == volumeCollection && inVolumes(kind):
		return string(kind.Join("", id))
	}
	return name
}

// foreign returns a name as that bridge's clients expect it.
func (c *compat) foreign(name string) string {
	collection, id, found := strings.Cut(name, "/")
	if !found || strings.Contains(id, "/") {
		return name
	}
	for _, kind := range c.kinds {
		if kind.Plural() == collection && inVolumes(kind) {
			return volumeCollection + "/" + id
		}
	}
	return name
}

// request puts the request of h into the API's own words.
func (c *compat) request(ctx context.Context, h *handler, req protoreflect.Message) error {
	if h.kind == nil {
		return nil
	}
	if h.name != nil {
		req.Set(h.name, protoreflect.ValueOfString(c.native(h.kind, req.Get(h.name).String())))
	}
	if h.parent != nil {
		req.Set(h.parent, protoreflect.ValueOfString(c.parent(h.kind, req.Get(h.parent).String())))
	}
	if h.body == nil || !req.Has(h.body) {
		return nil
	}
	body := req.Mutable(h.body).Message()
	if h.verb == verbCreate {
		resource.SetName(body.Interface(), "")
	} else {
		resource.SetName(body.Interface(), resource.Name(c.native(h.kind, string(resource.NameOf(body.Interface())))))
	}
	for _, path := range ignored()[body.Descriptor().FullName()] {
		clearPath(body, path)
	}
	if h.mask != nil {
		c.mask(h, req)
	}
	return c.references(ctx, body, string(h.body.Name()))
}

// parent returns the API's own form of a parent of that kind.
func (c *compat) parent(kind *resource.Kind, parent string) string {
	above := kind.ParentPattern()
	if above == "" {
		return ""
	}
	if collection, _, _ := strings.Cut(above, "/"); parent != "" && !strings.Contains(parent, "/") {
		return collection + "/" + parent
	}
	return parent
}

// references puts the references in a message, and in the messages in it, into the API's own words.
func (c *compat) references(ctx context.Context, m protoreflect.Message, path string) error {
	var failed error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := join(path, string(fd.Name()))
		var to string
		switch {
		case fd.Name() == "volume_name_ref":
			to, failed = c.refer(ctx, at, v.String(), false)
		case fd.Name() == "target_name_ref":
			to, failed = c.refer(ctx, at, v.String(), true)
		case fd.Message() != nil && !fd.IsList() && !fd.IsMap():
			failed = c.references(ctx, v.Message(), at)
		}
		if to != "" {
			m.Set(fd, protoreflect.ValueOfString(to))
		}
		return failed == nil
	})
	return failed
}

// refer returns the API's own form of a reference: to a SCSI target or controller, or to a volume, of
// which bare names stand for themselves.
func (c *compat) refer(ctx context.Context, field, ref string, target bool) (string, error) {
	id, found := strings.CutPrefix(ref, volumeCollection+"/")
	if !found && (!target || strings.Contains(ref, "/")) {
		return ref, nil
	}
	for _, kind := range c.kinds {
		if kind.IsVolume() == target || !inVolumes(kind) || target && !slices.Contains(targets(), kind.Plural()) {
			continue
		}
		name := string(kind.Join("", id))
		if _, err := c.engine.Get(ctx, kind, name); err == nil {
			return name, nil
		}
	}
	return "", errdefs.New(errdefs.NotFound, "%s: %s does not exist", field, ref)
}

// targets lists the collections that a target_name_ref can lead to.
func targets() []string { return []string{"virtioScsiControllers", "virtioScsiTargets"} }

// answer puts an answer into the words of that bridge.
func (c *compat) answer(msg proto.Message) proto.Message {
	msg = proto.Clone(msg)
	c.names(msg.ProtoReflect())
	return msg
}

func (c *compat) names(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				c.names(v.List().Get(i).Message())
			}
		case fd.IsList():
		case fd.Name() == "name" || fd.Name() == "volume_name_ref" || fd.Name() == "target_name_ref":
			m.Set(fd, protoreflect.ValueOfString(c.foreign(v.String())))
		case fd.Message() != nil:
			c.names(v.Message())
		}
		return true
	})
}
