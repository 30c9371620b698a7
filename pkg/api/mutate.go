// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// create serves AIP-133. The resource's own name field must be empty or say what the name will be.
func (h *handler) create(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	msg, err := h.resourceOf(req)
	if err != nil {
		return nil, err
	}
	parent, err := h.parentOf(req)
	if err != nil {
		return nil, err
	}
	id := req.Get(h.id).String()
	if given := resource.NameOf(msg); given != "" {
		field := string(h.body.Name()) + ".name"
		if id == "" {
			return nil, errdefs.InvalidField(field, "%q does not choose the name: leave it empty and set %s", given, h.id.Name())
		}
		if name := h.kind.Join(parent, id); given != name {
			return nil, errdefs.InvalidField(field, "%q is not the name the resource will have, which is %q: leave it empty", given, name)
		}
		resource.SetName(msg, "")
	}
	created, err := h.engine.Create(ctx, h.kind, string(parent), id, msg)
	return created, h.inRequest(err)
}

// update serves AIP-134.
func (h *handler) update(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	msg, err := h.resourceOf(req)
	if err != nil {
		return nil, err
	}
	name, err := h.kind.Parse(string(h.body.Name())+".name", string(resource.NameOf(msg)))
	if err != nil {
		return nil, err
	}
	var mask *fieldmaskpb.FieldMask
	if req.Has(h.mask) {
		var ok bool
		if mask, ok = req.Get(h.mask).Message().Interface().(*fieldmaskpb.FieldMask); !ok {
			return nil, errdefs.New(errdefs.Internal, "%s of %s is no field mask", h.mask.Name(), h.desc.FullName())
		}
	}
	paths, err := maskPaths(string(h.mask.Name()), mask, h.kind.Message())
	if err != nil {
		return nil, err
	}
	updated, err := h.engine.Update(ctx, h.kind, string(name), msg, paths, req.Get(h.allowMissing).Bool())
	return updated, h.inRequest(err)
}

// inRequest makes the field paths of an engine's error, which are those of the resource, paths of the
// request that carries it.
func (h *handler) inRequest(err error) error {
	return errdefs.RenameFields(err, func(path string) string {
		first, _, _ := strings.Cut(path, ".")
		if h.in.Descriptor().Fields().ByName(protoreflect.Name(first)) != nil {
			return path
		}
		return join(string(h.body.Name()), path)
	})
}

// delete serves AIP-135.
func (h *handler) delete(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	name, err := h.nameOf(req)
	if err != nil {
		return nil, err
	}
	if err := h.engine.Delete(ctx, h.kind, string(name), req.Get(h.allowMissing).Bool()); err != nil {
		return nil, err
	}
	return h.out.New().Interface(), nil
}

// reset serves the custom method Reset.
func (h *handler) reset(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	name, err := h.nameOf(req)
	if err != nil {
		return nil, err
	}
	if err := h.engine.Reset(ctx, h.kind, string(name)); err != nil {
		return nil, err
	}
	return h.out.New().Interface(), nil
}

// nameOf returns the name that a request is about.
func (h *handler) nameOf(req protoreflect.Message) (resource.Name, error) {
	return h.kind.Parse(string(h.name.Name()), req.Get(h.name).String())
}

// parentOf returns the parent that a request is about, "" for kinds at the top. Some methods of the
// API have a parent for kinds at the top; there it is empty, or what it is in every URL.
func (h *handler) parentOf(req protoreflect.Message) (resource.Name, error) {
	if h.parent == nil {
		return h.kind.ParseParent("parent", "")
	}
	parent := req.Get(h.parent).String()
	if parent != "" && parent == h.constantParent {
		return "", nil
	}
	return h.kind.ParseParent(string(h.parent.Name()), parent)
}

// resourceOf returns the resource that a request carries.
func (h *handler) resourceOf(req protoreflect.Message) (proto.Message, error) {
	if !req.Has(h.body) {
		return nil, errdefs.InvalidField(string(h.body.Name()), "must be set: it is the %s to %s", h.kind.Singular(), strings.ToLower(string(h.verb)))
	}
	return req.Get(h.body).Message().Interface(), nil
}
