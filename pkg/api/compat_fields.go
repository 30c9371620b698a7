// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// ignored lists the fields that opi-spdk-bridge takes and ignores, and that the storage tests of its
// client godpu send. Each would be refused otherwise.
func ignored() map[protoreflect.FullName][]string {
	return map[protoreflect.FullName][]string{
		// On fabrics each host negotiates its own controller, so none of these can take effect.
		"opi_api.storage.v1.NvmeController": {
			"spec.nvme_controller_id", "spec.max_nsq", "spec.max_ncq", "spec.sqes", "spec.cqes",
		},
		// The size is the file's.
		"opi_api.storage.v1.AioVolume": {"blocks_count"},
	}
}

// clearPath clears the field at path, names joined by dots.
func clearPath(m protoreflect.Message, path string) {
	head, rest, deeper := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(head))
	switch {
	case fd == nil || !m.Has(fd):
	case deeper:
		clearPath(m.Mutable(fd).Message(), rest)
	default:
		m.Clear(fd)
	}
}

// has says whether the field at path is set.
func has(m protoreflect.Message, path string) bool {
	head, rest, deeper := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(head))
	if fd == nil || !m.Has(fd) || !deeper {
		return fd != nil && m.Has(fd)
	}
	return has(m.Get(fd).Message(), rest)
}

// guard is the field that says who may reach a subsystem.
const guard = "spec.hostnqn"

// mask makes "*" in an update mask stand for all fields that are set or can be changed. That bridge's
// clients send it with half of the fields. A guard that is left out stays: to clear it would open the
// subsystem to any host, which nobody asked for.
func (c *compat) mask(h *handler, req protoreflect.Message) {
	mask, ok := req.Get(h.mask).Message().Interface().(*fieldmaskpb.FieldMask)
	if !ok || len(mask.GetPaths()) != 1 || mask.GetPaths()[0] != "*" {
		return
	}
	body := req.Get(h.body).Message()
	named := &fieldmaskpb.FieldMask{}
	resource.Leaves(body.Descriptor(), func(path string, _ protoreflect.FieldDescriptor) {
		if h.kind.Mutable(path) && path != guard || has(body, path) {
			named.Paths = append(named.Paths, path)
		}
	})
	req.Set(h.mask, protoreflect.ValueOfMessage(named.ProtoReflect()))
}

// serve serves a request by h, in the words of that bridge.
func (c *compat) serve(ctx context.Context, h *handler, req protoreflect.Message) (proto.Message, error) {
	req = proto.Clone(req.Interface()).ProtoReflect()
	if err := c.request(ctx, h, req); err != nil {
		return nil, err
	}
	answer, err := h.serve(ctx, req)
	switch {
	case err != nil && h.verb == verbUpdate && replaceable(h, err):
		answer, err = c.replace(ctx, h, req)
	case h.verb == verbReset && errors.Is(err, errdefs.NotFound):
		// The data plane does not have a controller that has no paths. There is nothing to reset.
		if _, there := c.engine.Get(ctx, h.kind, req.Get(h.name).String()); there == nil {
			answer, err = h.out.New().Interface(), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return c.answer(answer), nil
}

// replaceable says whether an update that was refused with err can be done by making the resource
// anew: a null volume, which holds nothing, of another size; an encrypted volume with another key,
// which leaves the blocks below as they are: with the old key, what was written is there again.
func replaceable(h *handler, err error) bool {
	switch h.resource {
	case "opi_api.storage.v1.NullVolume":
		return errors.Is(err, driver.ErrNotInPlace)
	case "opi_api.storage.v1.EncryptedVolume":
		fields := errdefs.Fields(err)
		return len(fields) == 1 && fields[0].Field == string(h.body.Name())+".key"
	}
	return false
}

// replace deletes the resource of an update, unless it is in use, and creates it as the update wants
// it; what the update leaves open stays as it was.
func (c *compat) replace(ctx context.Context, h *handler, req protoreflect.Message) (proto.Message, error) {
	wanted := proto.Clone(req.Get(h.body).Message().Interface())
	name := resource.NameOf(wanted)
	there, err := c.engine.Get(ctx, h.kind, string(name))
	if err != nil {
		return nil, err
	}
	resource.Leaves(h.kind.Message(), func(path string, _ protoreflect.FieldDescriptor) {
		if fd := h.kind.Message().Fields().ByName(protoreflect.Name(path)); fd != nil && !has(wanted.ProtoReflect(), path) {
			if there.ProtoReflect().Has(fd) {
				wanted.ProtoReflect().Set(fd, there.ProtoReflect().Get(fd))
			}
		}
	})
	resource.SetName(wanted, "")
	if err := h.kind.Check(wanted); err != nil {
		return nil, h.inRequest(err)
	}
	if err := c.engine.Delete(ctx, h.kind, string(name), false); err != nil {
		return nil, err
	}
	made, err := c.engine.Create(ctx, h.kind, "", name.ID(), wanted)
	if err != nil {
		return nil, errdefs.Wrap(errdefs.ClassOf(err), h.inRequest(err), "%s had to be made anew, and was only deleted: create it again", name)
	}
	return made, nil
}
