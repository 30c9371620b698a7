// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"slices"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// nobodyKnows lists the fields that stay empty: SPDK's subsystems show hosts no identifier of a
// field-replaceable unit.
func nobodyKnows() []string { return []string{"status.fru_guid"} }

// outputs: fields that only the bridge sets are set in what a create answers with.
func (s *suite) outputs(created proto.Message) {
	s.t.Helper()
	s.outputsOf(created.ProtoReflect(), "", false)
}

func (s *suite) outputsOf(m protoreflect.Message, prefix string, output bool) {
	s.t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		marks, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
		output, path := output || slices.Contains(marks, annotations.FieldBehavior_OUTPUT_ONLY), prefix+string(fd.Name())
		switch {
		case fd.Message() != nil && (output || m.Has(fd)):
			s.outputsOf(m.Get(fd).Message(), path+".", output)
		case output && !m.Has(fd) && !slices.Contains(nobodyKnows(), path):
			s.t.Errorf("%s is the bridge's to set, and is not set", path)
		}
	}
}
