// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"slices"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestMaskPaths(t *testing.T) {
	t.Parallel()
	subsystem := (*pb.NvmeSubsystem)(nil).ProtoReflect().Descriptor()
	for _, row := range []struct {
		what  string
		paths []string
		want  []string
	}{
		{"no path is no mask", nil, nil},
		{"all", []string{"*"}, []string{"*"}},
		{"order and repetition", []string{"spec.psk", "spec.nqn", "spec.psk"}, []string{"spec.nqn", "spec.psk"}},
		{"covered by another", []string{"spec.nqn", "spec"}, []string{"spec"}},
		{"name and output-only are left out", []string{"name", "status", "spec.nqn", "status.firmware_revision"}, []string{"spec.nqn"}},
		{"names as JSON has them", []string{"spec.maxNamespaces", "spec.serial_number"}, []string{"spec.max_namespaces", "spec.serial_number"}},
		{"nothing else remains", []string{"name"}, []string{}},
	} {
		got, err := maskPaths("update_mask", &fieldmaskpb.FieldMask{Paths: row.paths}, subsystem)
		if err != nil || !slices.Equal(got, row.want) || (got == nil) != (row.want == nil) {
			t.Errorf("%s: %v became %#v, want %#v (%v)", row.what, row.paths, got, row.want, err)
		}
	}
	if got, err := maskPaths("update_mask", nil, subsystem); got != nil || err != nil {
		t.Errorf("no mask became %#v, %v", got, err)
	}
}

func TestMasksThatAreRefused(t *testing.T) {
	t.Parallel()
	subsystem := (*pb.NvmeSubsystem)(nil).ProtoReflect().Descriptor()
	for path, says := range map[string]string{
		"":               "empty path",
		"spec.":          "not a field",
		".spec":          "not a field",
		"spec.nqn.x":     "goes below nqn",
		"spec.hostNqn":   "not a field",
		"size":           `"size" is not a field of NvmeSubsystem`,
		"spec\x00.nqn":   "not a field",
		"spec.nqn,spec":  "not a field",
		"spec.*":         "not a field",
		"spec.\xff\xfe]": "not a field",
	} {
		_, err := maskPaths("update_mask", &fieldmaskpb.FieldMask{Paths: []string{"spec.psk", path}}, subsystem)
		fields := errdefs.Fields(err)
		if !errors.Is(err, errdefs.InvalidArgument) || len(fields) != 1 || fields[0].Field != "update_mask" || !strings.Contains(err.Error(), says) {
			t.Errorf("path %q: %v, want one that says %q", path, err, says)
		}
	}
	if _, err := maskPaths("update_mask", &fieldmaskpb.FieldMask{Paths: []string{"*", "spec"}}, subsystem); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("* with others: %v", err)
	}
}
