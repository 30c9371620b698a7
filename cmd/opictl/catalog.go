// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// kind is a kind of resource as the API's descriptors tell.
type kind struct {
	pattern []string // "nvmeSubsystems", "{subsystem}", "nvmeNamespaces", "{namespace}"
	message protoreflect.MessageDescriptor
	methods map[string]protoreflect.MethodDescriptor // by verb: "Create", …
}

// plural returns the name of the kind's collection.
func (k *kind) plural() string { return k.pattern[len(k.pattern)-2] }

// collection returns the pattern of the collection: "nvmeSubsystems/{subsystem}/nvmeNamespaces".
func (k *kind) collection() string { return strings.Join(k.pattern[:len(k.pattern)-1], "/") }

// verbs that a method's name may begin with.
const (
	verbCreate = "Create"
	verbUpdate = "Update"
	verbDelete = "Delete"
	verbGet    = "Get"
	verbList   = "List"
	verbStats  = "Stats"
	verbReset  = "Reset"
)

// kinds returns every kind of the API that can be read, in the order of their patterns.
func kinds() []*kind {
	byMessage := map[protoreflect.Name]*kind{}
	eachMethod(func(m protoreflect.MethodDescriptor) {
		if k := kindOf(m.Output()); strings.HasPrefix(string(m.Name()), verbGet) && k != nil {
			byMessage[m.Output().Name()] = k
		}
	})
	eachMethod(func(m protoreflect.MethodDescriptor) {
		for _, verb := range []string{verbCreate, verbUpdate, verbDelete, verbGet, verbList, verbStats, verbReset} {
			subject, ok := strings.CutPrefix(string(m.Name()), verb)
			if !ok {
				continue
			}
			if verb == verbList {
				subject = strings.TrimSuffix(subject, "s")
			}
			if k := byMessage[protoreflect.Name(subject)]; k != nil {
				k.methods[verb] = m
			}
		}
	})
	all := make([]*kind, 0, len(byMessage))
	for _, k := range byMessage {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *kind) int { return strings.Compare(a.collection(), b.collection()) })
	return all
}

func eachMethod(visit func(protoreflect.MethodDescriptor)) {
	protoregistry.GlobalFiles.RangeFilesByPackage(pb.File_opicommon_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				visit(methods.Get(j))
			}
		}
		return true
	})
}

// kindOf returns the kind of a message, nil if the message is no resource.
func kindOf(message protoreflect.MessageDescriptor) *kind {
	res, ok := proto.GetExtension(message.Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
	if !ok || len(res.GetPattern()) != 1 {
		return nil
	}
	pattern := strings.Split(res.GetPattern()[0], "/")
	if len(pattern) < 2 {
		return nil
	}
	return &kind{pattern: pattern, message: message, methods: map[string]protoreflect.MethodDescriptor{}}
}

// target is what an argument points at: a resource, or a collection when id is empty.
type target struct {
	*kind
	parent, id string
}

// name returns the resource's name.
func (t target) name() string {
	if t.parent == "" {
		return t.plural() + "/" + t.id
	}
	return t.parent + "/" + t.plural() + "/" + t.id
}

// find returns what an argument points at.
func find(arg string) (target, error) {
	parts := strings.Split(arg, "/")
	for _, k := range kinds() {
		if len(parts) != len(k.pattern) && len(parts) != len(k.pattern)-1 || !matches(k.pattern, parts) {
			continue
		}
		t := target{kind: k, parent: strings.Join(k.parentOf(parts), "/")}
		if len(parts) == len(k.pattern) {
			t.id = parts[len(parts)-1]
		}
		return t, nil
	}
	return target{}, usagef("%q is neither a resource nor a collection; there are:\n  %s", arg, strings.Join(collections(), "\n  "))
}

func (k *kind) parentOf(parts []string) []string { return parts[:len(k.pattern)-2] }

func matches(pattern, parts []string) bool {
	for i, part := range parts {
		if part == "" || !strings.HasPrefix(pattern[i], "{") && part != pattern[i] {
			return false
		}
	}
	return true
}

// collections returns the patterns of all collections.
func collections() []string {
	var all []string
	for _, k := range kinds() {
		all = append(all, k.collection())
	}
	return all
}

// method returns the kind's method of that verb.
func (k *kind) method(verb string) (protoreflect.MethodDescriptor, error) {
	if m := k.methods[verb]; m != nil {
		return m, nil
	}
	return nil, usagef("the API cannot %s %s", strings.ToLower(verb), k.plural())
}

// findResource is find for arguments that must name a resource.
func findResource(arg string) (target, error) {
	t, err := find(arg)
	if err == nil && t.id == "" {
		err = usagef("%q is a collection: name one of its resources, as in %s/some-id", arg, arg)
	}
	return t, err
}

// findCollection is find for arguments that must name a collection.
func findCollection(arg string) (target, error) {
	t, err := find(arg)
	if err == nil && t.id != "" {
		err = usagef("%q is a resource: name its collection, %s", arg, strings.TrimSuffix(arg, "/"+t.id))
	}
	return t, err
}
