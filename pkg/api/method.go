// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"strings"

	inventorypb "github.com/opiproject/opi-api/inventory/v1/gen/go"
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// verb is what a method does, named as its prefix.
type verb string

const (
	verbCreate verb = "Create"
	verbUpdate verb = "Update"
	verbDelete verb = "Delete"
	verbGet    verb = "Get"
	verbList   verb = "List"
	verbStats  verb = "Stats"
	verbReset  verb = "Reset"
)

// method is one RPC as its descriptors tell: verb, resource, and the fields that the verb works with.
// A field that the request or answer of this method does not have is nil.
type method struct {
	desc     protoreflect.MethodDescriptor
	verb     verb
	resource protoreflect.FullName // the message of the resource
	in, out  protoreflect.MessageType

	name, parent, body, id, mask, allowMissing, pageSize, pageToken protoreflect.FieldDescriptor
	items, nextPageToken, stats                                     protoreflect.FieldDescriptor

	// constantParent is what the parent is in the method's URL when it is the same for all requests
	// ("/v1/{parent=virtioScsiLuns}"): such a parent says nothing.
	constantParent string
}

// Services returns the descriptors of all services that this package can serve, in the order of their
// names: those of OPI storage and inventory, and our own.
func Services() []protoreflect.ServiceDescriptor {
	return servicesOf(pb.File_opicommon_proto.Package(), inventorypb.File_inventory_proto.Package(), bridgev1.File_opi_bridge_v1_bridge_proto.Package())
}

// servicesOf returns the services of some protobuf packages, in the order of their names.
func servicesOf(packages ...protoreflect.FullName) []protoreflect.ServiceDescriptor {
	var all []protoreflect.ServiceDescriptor
	for _, name := range packages {
		protoregistry.GlobalFiles.RangeFilesByPackage(name, func(file protoreflect.FileDescriptor) bool {
			for i := range file.Services().Len() {
				all = append(all, file.Services().Get(i))
			}
			return true
		})
	}
	slices.SortFunc(all, func(a, b protoreflect.ServiceDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return all
}

// describe returns the method of a descriptor, or says how it departs from what the API's methods
// have in common.
func describe(desc protoreflect.MethodDescriptor) (*method, error) {
	if desc.IsStreamingClient() || desc.IsStreamingServer() {
		return nil, fmt.Errorf("%s is a stream", desc.FullName())
	}
	m := &method{desc: desc}
	subject := string(desc.Name())
	for _, v := range []verb{verbCreate, verbUpdate, verbDelete, verbGet, verbList, verbStats, verbReset} {
		if rest, ok := strings.CutPrefix(string(desc.Name()), string(v)); ok {
			m.verb, subject = v, rest
		}
	}
	var err error
	if m.in, err = protoregistry.GlobalTypes.FindMessageByName(desc.Input().FullName()); err != nil {
		return nil, fmt.Errorf("request of %s: %w", desc.FullName(), err)
	}
	if m.out, err = protoregistry.GlobalTypes.FindMessageByName(desc.Output().FullName()); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", desc.FullName(), err)
	}
	m.requestFields(desc.Input().Fields(), subject)
	m.answerFields(desc.Output().Fields())
	m.resource = desc.ParentFile().Package().Append(protoreflect.Name(subject))
	if m.items != nil {
		m.resource = m.items.Message().FullName()
	}
	return m, m.complete()
}

// requestFields finds the fields of a request about subject.
func (m *method) requestFields(fields protoreflect.FieldDescriptors, subject string) {
	m.name = fields.ByName("name")
	if m.parent = fields.ByName("parent"); m.parent != nil {
		m.constantParent = constantParent(m.desc)
	}
	m.mask = fields.ByName("update_mask")
	m.allowMissing = fields.ByName("allow_missing")
	m.pageSize = fields.ByName("page_size")
	m.pageToken = fields.ByName("page_token")
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Message() != nil && string(fd.Message().Name()) == subject {
			m.body = fd
			m.id = fields.ByName(fd.Name() + "_id")
		}
	}
}

func constantParent(desc protoreflect.MethodDescriptor) string {
	rule, ok := proto.GetExtension(desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok {
		return ""
	}
	_, value, _ := strings.Cut(rule.GetGet(), "{parent=")
	value, _, _ = strings.Cut(value, "}")
	if strings.Contains(value, "*") {
		return ""
	}
	return value
}

// answerFields finds the fields of an answer that is not the resource itself.
func (m *method) answerFields(fields protoreflect.FieldDescriptors) {
	switch m.verb {
	case verbList:
		m.nextPageToken = fields.ByName("next_page_token")
		for i := range fields.Len() {
			if fd := fields.Get(i); fd.IsList() && fd.Message() != nil {
				m.items = fd
			}
		}
	case verbStats:
		m.stats = fields.ByName("stats")
	case verbCreate, verbUpdate, verbDelete, verbGet, verbReset:
	}
}

// complete says which field the verb works with is missing.
func (m *method) complete() error {
	need := map[verb][]protoreflect.FieldDescriptor{
		verbCreate: {m.body, m.id},
		verbUpdate: {m.body, m.mask, m.allowMissing},
		verbDelete: {m.name, m.allowMissing},
		verbGet:    {m.name},
		verbList:   {m.pageSize, m.pageToken, m.items, m.nextPageToken},
		verbStats:  {m.name, m.stats},
		verbReset:  {m.name},
	}
	fields, known := need[m.verb]
	if !known {
		return fmt.Errorf("%s: its name begins with no verb known here", m.desc.FullName())
	}
	if slices.Contains(fields, nil) {
		return fmt.Errorf("%s: its request or answer lacks a field that %s needs", m.desc.FullName(), m.verb)
	}
	return nil
}

// used returns the request fields that take effect.
func (m *method) used() []protoreflect.FieldDescriptor {
	all := []protoreflect.FieldDescriptor{m.name, m.parent, m.body, m.id, m.mask, m.allowMissing, m.pageSize, m.pageToken}
	return slices.DeleteFunc(all, func(fd protoreflect.FieldDescriptor) bool { return fd == nil })
}
