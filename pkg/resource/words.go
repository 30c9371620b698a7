// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Refusal is a field that cannot take effect.
type Refusal struct {
	// Field is its path, proto names joined by dots.
	Field string
	// Reason says why, and what to do instead.
	Reason string
}

// Ref is a reference to another resource.
type Ref struct {
	// Field is the path of the field that holds it.
	Field string
	// To is the reference as given: a full resource name, or the bare name of a bdev.
	To string
	// Plain says that it is no volume: it must be the name of a resource that exists.
	Plain bool
}

// Hold is something that only one resource may have at a time.
type Hold struct {
	// Token is what is held: a class and a value, "nqn/nqn.2024-01.io.example:a".
	Token string
	// Field is the path of the field that decides it.
	Field string
	// What says it in words, for the error: "NQN nqn.2024-01.io.example:a".
	What string
	// Class is what a second taker is told; empty means AlreadyExists.
	Class errdefs.Class
}

// Completion is what a Complete function may look at.
type Completion struct {
	// Name is the resource's name.
	Name Name
	// Prior is the resource as it is so far, nil for a new one. Generated values are taken from it,
	// so that a request that leaves them open means what is there.
	Prior proto.Message
	// Facts may be read and set; see [Record].
	Facts map[string]string
	// View shows the other resources.
	View View
	// HostNQN is the NQN as which this bridge attaches to targets, "" to leave it to the data plane.
	HostNQN string
	// ControllerIDs are those that a new subsystem is to give.
	ControllerIDs driver.ControllerIDs
	// NewUUID returns a random UUID, lower case with dashes.
	NewUUID func() string
}

// View shows resources and the data plane to the functions of a kind, as they are at one moment.
type View interface {
	// Record returns the resource of that name, or nil.
	Record(name Name) *Record
	// Records returns the resources of a collection ("nvmeSubsystems/web-1/nvmeNamespaces") in the
	// order of their names.
	Records(collection string) []*Record
	// Bdev resolves a volume reference to the name of a bdev. The error says which part does not
	// exist; whether the bdev itself is there now is another question.
	Bdev(ref string) (string, error)
	// Observed returns the object with that key as last seen, or nil.
	Observed(key driver.Key) driver.Object
	// Brought returns the bdevs of the remote controller attached under that name, by nsid.
	Brought(controller string) []*driver.Bdev
	// Firmware returns the firmware revision that hosts see of NVMe subsystems, "" while it is not known.
	Firmware() string
}

// Violations collects what is wrong with a message.
type Violations struct{ list []errdefs.FieldViolation }

// Check notes a violation unless ok. The sentence must say what would be right.
func (v *Violations) Check(ok bool, field, format string, args ...any) {
	if !ok {
		v.list = append(v.list, errdefs.FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
	}
}

// Err returns all that was noted as one InvalidArgument, or nil.
func (v *Violations) Err() error { return errdefs.Invalid(v.list) }
