// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// kindCase is what the suite needs to know of a kind: everything else is the same for all.
type kindCase struct {
	// name is the name of the resource that the suite makes.
	name resource.Name
	// base lists what must exist before: name and message in the order of their making.
	base []made
	// valid is a good message.
	valid func(t testing.TB, e *env) proto.Message
	// user is a resource that uses this one, nil when nothing can.
	user func(t testing.TB, e *env) made
	// fields says for every settable field what becomes of it.
	fields map[string]fieldCase
}

// made is a resource of some kind.
type made struct {
	kind string
	name resource.Name
	msg  func(t testing.TB, e *env) proto.Message
}

// fieldCase says what becomes of one field.
type fieldCase struct {
	// value is another good value than that of the valid message; nil when the field is always
	// refused, or has no other good value here.
	value func(e *env) any
	// effect says whether the data plane shows the value.
	effect func(e *env, there map[driver.Key]driver.Object) bool
	// bad are values that must be refused, naming the field or one that decides over it.
	bad []any
	// refused says that every value is refused with this driver and data plane.
	refused bool
	// kept says that the value is the bridge's own to keep: it comes back, and nothing below knows it.
	kept bool
}

// is makes the value of a field that does not depend on the environment.
func is(v any) func(*env) any { return func(*env) any { return v } }

// never is a field that is refused whatever its value.
func never(values ...any) fieldCase { return fieldCase{bad: values, refused: true} }

// bdev returns the observed bdev, or an empty one.
func bdev(there map[driver.Key]driver.Object, name string) *driver.Bdev {
	if b, ok := there[driver.BdevKey(name)].(*driver.Bdev); ok {
		return b
	}
	return &driver.Bdev{}
}

func subsystem(there map[driver.Key]driver.Object, nqn string) *driver.Subsystem {
	if s, ok := there[driver.SubsystemKey(nqn)].(*driver.Subsystem); ok {
		return s
	}
	return &driver.Subsystem{}
}

func namespace(there map[driver.Key]driver.Object, nqn string, nsid uint32) *driver.Namespace {
	if n, ok := there[driver.NamespaceKey(nqn, nsid)].(*driver.Namespace); ok {
		return n
	}
	return &driver.Namespace{}
}
