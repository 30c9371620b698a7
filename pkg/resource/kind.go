// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Kind is a declared kind of resource, its message type erased. Made by [Declaration.Kind]; never
// changed, so safe to share.
type Kind struct {
	prototype protoreflect.Message
	pattern   []string // collections and "{variables}" in turn
	singular  string
	plural    string

	mutable map[string]bool
	fixed   map[string]string
	refused []Refusal
	shapes  bool
	secrets [][]protoreflect.FieldDescriptor // each a path
	derived func(parent Name, v View) []proto.Message

	complete func(m proto.Message, c Completion) error
	check    func(m proto.Message, v *Violations)
	bdev     func(name Name, m proto.Message) string
	refs     func(m proto.Message) []Ref
	holds    func(r *Record, m proto.Message, v View) []Hold
	objects  func(r *Record, m proto.Message, v View) ([]driver.Object, error)
	stats    func(name Name, m proto.Message, v View) []driver.Key
	reset    func(name Name, m proto.Message) (string, error)
	takes    func(name Name, m proto.Message, v View) string
	live     func(r *Record, m proto.Message, v View)
}

// erase builds the parts of a Kind that the message's own annotations tell.
func erase(m proto.Message) (*Kind, error) {
	desc := m.ProtoReflect().Descriptor()
	res, ok := proto.GetExtension(desc.Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
	if !ok || len(res.GetPattern()) != 1 {
		return nil, fmt.Errorf("message %s must have a google.api.resource annotation with one pattern", desc.FullName())
	}
	k := &Kind{
		prototype: m.ProtoReflect().Type().Zero(),
		pattern:   strings.Split(res.GetPattern()[0], "/"),
		singular:  res.GetSingular(),
		plural:    res.GetPlural(),
	}
	if len(k.pattern)%2 != 0 {
		return nil, fmt.Errorf("pattern %q of %s must alternate collections and ids", k.Pattern(), desc.FullName())
	}
	return k, nil
}

// Pattern returns the name pattern, "nvmeSubsystems/{subsystem}/nvmeNamespaces/{namespace}".
func (k *Kind) Pattern() string { return strings.Join(k.pattern, "/") }

// ParentPattern returns the pattern of the parent's names, "" for a kind at the top.
func (k *Kind) ParentPattern() string { return strings.Join(k.pattern[:len(k.pattern)-2], "/") }

// Singular returns the kind's name in lower camel case, "nvmeNamespace".
func (k *Kind) Singular() string { return k.singular }

// Plural returns the collection's name, "nvmeNamespaces".
func (k *Kind) Plural() string { return k.plural }

// Message returns the descriptor of the kind's message.
func (k *Kind) Message() protoreflect.MessageDescriptor { return k.prototype.Descriptor() }

// New returns an empty message of the kind.
func (k *Kind) New() proto.Message { return k.prototype.New().Interface() }

// Derived says that resources of the kind are found in the data plane, not asked for: they can be
// read, and nothing else.
func (k *Kind) Derived() bool { return k.derived != nil }

// Parse checks that s is a name of this kind and returns it. Field is the request field it came in.
func (k *Kind) Parse(field, s string) (Name, error) {
	if err := match(k.pattern, field, s); err != nil {
		return "", err
	}
	return Name(s), nil
}

// ParseParent checks that s is a name of the kind's parent; kinds at the top take "" only.
func (k *Kind) ParseParent(field, s string) (Name, error) {
	want := k.pattern[:len(k.pattern)-2]
	if len(want) == 0 {
		if s != "" {
			return "", errdefs.InvalidField(field, "%q must be empty: %s have no parent", s, k.plural)
		}
		return "", nil
	}
	if err := match(want, field, s); err != nil {
		return "", err
	}
	return Name(s), nil
}

// Join returns the name of the resource with that id below parent.
func (k *Kind) Join(parent Name, id string) Name { return Name(k.CollectionOf(parent) + "/" + id) }

// CollectionOf returns the collection of the kind below parent.
func (k *Kind) CollectionOf(parent Name) string {
	if parent == "" {
		return k.plural
	}
	return string(parent) + "/" + k.plural
}

// Owns says whether name has the form of this kind's names.
func (k *Kind) Owns(name Name) bool { return match(k.pattern, "name", string(name)) == nil }

func match(pattern []string, field, s string) error {
	if s == "" {
		return errdefs.InvalidField(field, "must be set, in the form %s", strings.Join(pattern, "/"))
	}
	parts := strings.Split(s, "/")
	ok := len(parts) == len(pattern)
	for i := 0; ok && i < len(parts); i++ {
		if strings.HasPrefix(pattern[i], "{") {
			ok = anyID.MatchString(parts[i])
		} else {
			ok = parts[i] == pattern[i]
		}
	}
	if !ok {
		return errdefs.InvalidField(field, "%q must have the form %s", s, strings.Join(pattern, "/"))
	}
	return nil
}
