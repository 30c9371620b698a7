// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Registry is the set of kinds that a program serves. Not changed after New, so safe to share.
type Registry struct {
	kinds     []*Kind
	byMessage map[protoreflect.FullName]*Kind
	byShape   map[string]*Kind
}

// NewRegistry returns the registry of these kinds. It fails when two have one pattern or message.
func NewRegistry(kinds []*Kind) (*Registry, error) {
	r := &Registry{kinds: kinds, byMessage: map[protoreflect.FullName]*Kind{}, byShape: map[string]*Kind{}}
	for _, k := range kinds {
		if r.byMessage[k.Message().FullName()] != nil || r.byShape[k.shape()] != nil {
			return nil, fmt.Errorf("kind %s is declared twice", k.Pattern())
		}
		r.byMessage[k.Message().FullName()] = k
		r.byShape[k.shape()] = k
	}
	return r, nil
}

// Kinds returns all kinds. The caller leaves the slice as it is.
func (r *Registry) Kinds() []*Kind { return r.kinds }

// ByMessage returns the kind of a message type, or nil.
func (r *Registry) ByMessage(name protoreflect.FullName) *Kind { return r.byMessage[name] }

// ByName returns the kind that a name belongs to, or nil.
func (r *Registry) ByName(name Name) *Kind {
	k := r.byShape[shapeOf(name)]
	if k == nil || !k.Owns(name) {
		return nil
	}
	return k
}

// shape is a pattern with its ids left out, which tells kinds apart.
func (k *Kind) shape() string { return shapeOf(Name(k.Pattern())) }

func shapeOf(name Name) string {
	shape, id := "", false
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		if !id {
			shape += "/" + string(name[start:i])
		}
		id, start = !id, i+1
	}
	return shape
}

// SetName sets the message's name field.
func SetName(m proto.Message, name Name) {
	fd := m.ProtoReflect().Descriptor().Fields().ByName("name")
	m.ProtoReflect().Set(fd, protoreflect.ValueOfString(string(name)))
}

// NameOf returns the message's name field.
func NameOf(m proto.Message) Name {
	fd := m.ProtoReflect().Descriptor().Fields().ByName("name")
	return Name(m.ProtoReflect().Get(fd).String())
}
