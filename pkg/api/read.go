// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Page sizes of List (AIP-158).
const (
	// DefaultPageSize is what a page_size of 0 means.
	DefaultPageSize = 50
	// MaxPageSize is what larger page sizes are lowered to.
	MaxPageSize = 1000
)

// get serves AIP-131.
func (h *handler) get(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	name, err := h.nameOf(req)
	if err != nil {
		return nil, err
	}
	return h.engine.Get(ctx, h.kind, string(name))
}

// list serves AIP-132 and AIP-158.
func (h *handler) list(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	parent, err := h.parentOf(req)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(string(h.pageSize.Name()), req.Get(h.pageSize).Int())
	if err != nil {
		return nil, err
	}
	collection := h.kind.CollectionOf(parent)
	after := ""
	if given := req.Get(h.pageToken).String(); given != "" {
		if after, err = parseToken(string(h.pageToken.Name()), given, collection); err != nil {
			return nil, err
		}
	}
	items, more, err := h.engine.List(ctx, h.kind, string(parent), after, size)
	if err != nil {
		return nil, err
	}
	answer := h.out.New()
	list := answer.Mutable(h.items).List()
	for _, item := range items {
		list.Append(protoreflect.ValueOfMessage(item.ProtoReflect()))
	}
	if more && len(items) > 0 {
		last := resource.NameOf(items[len(items)-1])
		answer.Set(h.nextPageToken, protoreflect.ValueOfString(newToken(collection, string(last))))
	}
	return answer.Interface(), nil
}

// statistics serves the custom method Stats.
func (h *handler) statistics(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	name, err := h.nameOf(req)
	if err != nil {
		return nil, err
	}
	counted, err := h.engine.Stats(ctx, h.kind, string(name))
	if err != nil {
		return nil, err
	}
	answer := h.out.New()
	answer.Set(h.stats, protoreflect.ValueOfMessage(volumeStats(counted).ProtoReflect()))
	return answer.Interface(), nil
}

// pageSize returns how many items a page holds.
func pageSize(field string, asked int64) (int, error) {
	switch {
	case asked < 0:
		return 0, errdefs.InvalidField(field, "%d must not be negative: 0 means %d, more than %d means %d", asked, DefaultPageSize, MaxPageSize, MaxPageSize)
	case asked == 0:
		return DefaultPageSize, nil
	}
	return int(min(asked, MaxPageSize)), nil
}
