// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// Declaration says everything about a kind of resource. M is the OPI message; name pattern, singular
// and plural, and which fields are output only, come from the message's own annotations. The
// functions are pure: they look at what they are given, change nothing but what is named, and may
// run at any time. Nil functions mean "nothing".
type Declaration[M proto.Message] struct {
	// Mutable lists the paths of fields that an Update may change. All others are fixed for ever by
	// the create.
	Mutable []string
	// Fixed says why an Update may not change a field, by path, where it is not only that the create
	// fixes it.
	Fixed map[string]string
	// Secrets lists the paths of fields of type bytes that are never given back, and are sealed in the
	// store. Left empty in a request about a resource that has one, the secret stays as it is.
	Secrets []string
	// Refused lists fields that cannot take effect, each with the reason that clients are told.
	Refused []Refusal
	// Shapes says that the objects of the parent depend on the resource: they are worked out anew when it
	// comes, changes and goes. Which they are, by their keys, must not depend on it.
	Shapes bool
	// Complete fills in what the request left open: generated identity, lowest free number.
	Complete func(m M, c Completion) error
	// Check notes what is wrong with a complete message, looking at nothing but the message.
	Check func(m M, v *Violations)
	// Bdev returns the name of the bdev that the resource is, for kinds that can be referred to as a
	// volume; or, for a volume that is another one with something added, the reference to that.
	Bdev func(name Name, m M) string
	// Refs lists the resources that the message refers to.
	Refs func(m M) []Ref
	// Holds lists what r must have alone when it is as m says.
	Holds func(r *Record, m M, v View) []Hold
	// Objects lists what should exist in the data plane for r when it is as m says. It fails when a
	// reference cannot be resolved, which it always can once admitted.
	Objects func(r *Record, m M, v View) ([]driver.Object, error)
	// Stats lists the bdevs and paths whose counters, summed, are the resource's.
	Stats func(name Name, m M, v View) []driver.Key
	// Reset returns the name of the remote controller that a Reset is about, or why it must not be.
	Reset func(name Name, m M) (string, error)
	// Takes returns the name of the remote controller that goes when the resource is deleted, with all
	// the bdevs that came with it, though they are not among the resource's Objects; "" for none.
	Takes func(name Name, m M, v View) (controller string)
	// Live fills the output-only fields of m, a copy of r's message made for one answer.
	Live func(r *Record, m M, v View)
	// Derived, when set, makes a read-only kind: it lists what the data plane has below parent. The
	// other functions do not apply, but for Stats.
	Derived func(parent Name, v View) []M
}

// Kind erases the message type. It fails when the message has no usable resource annotation.
func (d Declaration[M]) Kind() (*Kind, error) {
	var zero M
	k, err := erase(zero)
	if err != nil {
		return nil, err
	}
	k.refused = d.Refused
	k.shapes = d.Shapes
	if k.secrets, err = secretPaths(k.Message(), d.Secrets); err != nil {
		return nil, err
	}
	k.fixed = d.Fixed
	k.mutable = make(map[string]bool, len(d.Mutable))
	for _, path := range d.Mutable {
		k.mutable[path] = true
	}
	// Each function is wrapped only where it is declared, so that nil keeps its meaning. A message of
	// another type cannot reach these: the engine keeps kind and message together.
	if f := d.Complete; f != nil {
		k.complete = func(m proto.Message, c Completion) error { return f(as[M](m), c) }
	}
	if f := d.Check; f != nil {
		k.check = func(m proto.Message, v *Violations) { f(as[M](m), v) }
	}
	if f := d.Bdev; f != nil {
		k.bdev = func(n Name, m proto.Message) string { return f(n, as[M](m)) }
	}
	if f := d.Refs; f != nil {
		k.refs = func(m proto.Message) []Ref { return f(as[M](m)) }
	}
	if f := d.Holds; f != nil {
		k.holds = func(r *Record, m proto.Message, v View) []Hold { return f(r, as[M](m), v) }
	}
	if f := d.Objects; f != nil {
		k.objects = func(r *Record, m proto.Message, v View) ([]driver.Object, error) { return f(r, as[M](m), v) }
	}
	if f := d.Stats; f != nil {
		k.stats = func(n Name, m proto.Message, v View) []driver.Key { return f(n, as[M](m), v) }
	}
	if f := d.Reset; f != nil {
		k.reset = func(n Name, m proto.Message) (string, error) { return f(n, as[M](m)) }
	}
	if f := d.Takes; f != nil {
		k.takes = func(n Name, m proto.Message, v View) string { return f(n, as[M](m), v) }
	}
	if f := d.Live; f != nil {
		k.live = func(r *Record, m proto.Message, v View) { f(r, as[M](m), v) }
	}
	if f := d.Derived; f != nil {
		k.derived = func(parent Name, v View) []proto.Message {
			found := f(parent, v)
			all := make([]proto.Message, len(found))
			for i := range found {
				all[i] = found[i]
			}
			return all
		}
	}
	return k, nil
}

// as returns m with its own type, and the nil of that type for nil: resources of derived kinds have
// a name and no message. It can only fail by a mistake in this program.
func as[M proto.Message](m proto.Message) M {
	if m == nil {
		var none M
		return none
	}
	typed, ok := m.(M)
	if !ok {
		var want M
		panic("resource: a " + string(m.ProtoReflect().Descriptor().FullName()) + " was given to the kind of " +
			string(want.ProtoReflect().Descriptor().FullName()))
	}
	return typed
}
