// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// The methods of this file are how the engine asks a kind; each answers "nothing" where the kind
// declares nothing.

// Complete fills in what the request left open.
func (k *Kind) Complete(m proto.Message, c Completion) error {
	k.keepSecrets(m, c.Prior)
	if k.complete == nil {
		return nil
	}
	return k.complete(m, c)
}

// Check says what is wrong with a complete message, as one InvalidArgument that lists every field.
// Refused fields come first.
func (k *Kind) Check(m proto.Message) error {
	var v Violations
	for _, r := range k.refused {
		_, set := lookup(m.ProtoReflect(), r.Field)
		v.Check(!set, r.Field, "%s", r.Reason)
	}
	if k.check != nil {
		k.check(m, &v)
	}
	return v.Err()
}

// CheckChange refuses changes to fields that are fixed by the create.
func (k *Kind) CheckChange(prior, next proto.Message) error {
	var v Violations
	for _, path := range Changed(prior, next) {
		if why := k.fixed[path]; why != "" {
			v.Check(false, path, "%s", why)
			continue
		}
		v.Check(k.mutable[path], path, "cannot be changed after the create: delete the %s and create it anew", k.singular)
	}
	return v.Err()
}

// Mutable says whether an Update may change the field at path.
func (k *Kind) Mutable(path string) bool { return k.mutable[path] }

// Refused returns the fields that cannot take effect. The caller leaves the slice as it is.
func (k *Kind) Refused() []Refusal { return k.refused }

// IsVolume says whether resources of the kind can be referred to as a volume.
func (k *Kind) IsVolume() bool { return k.bdev != nil }

// Bdev returns the bdev that the resource is, or the reference to the volume that it adds to; call it
// for volumes only.
func (k *Kind) Bdev(name Name, m proto.Message) string { return k.bdev(name, m) }

// Shapes says whether the objects of the parent depend on resources of the kind.
func (k *Kind) Shapes() bool { return k.shapes }

// Refs lists the references of a message.
func (k *Kind) Refs(m proto.Message) []Ref {
	if k.refs == nil {
		return nil
	}
	return k.refs(m)
}

// Holds lists what r must have alone when it is as m says.
func (k *Kind) Holds(r *Record, m proto.Message, v View) []Hold {
	if k.holds == nil {
		return nil
	}
	return k.holds(r, m, v)
}

// Objects lists what should exist in the data plane for r when it is as m says.
func (k *Kind) Objects(r *Record, m proto.Message, v View) ([]driver.Object, error) {
	if k.objects == nil || m == nil {
		return nil, nil
	}
	return k.objects(r, m, v)
}

// Stats lists what to count. It is Unimplemented for kinds without counters.
func (k *Kind) Stats(name Name, m proto.Message, v View) ([]driver.Key, error) {
	if k.stats == nil {
		return nil, errdefs.New(errdefs.Unimplemented, "%s have no statistics", k.plural)
	}
	return k.stats(name, m, v), nil
}

// ResetTarget returns the remote controller that a Reset is about, or Unimplemented, or why it must not be.
func (k *Kind) ResetTarget(name Name, m proto.Message) (string, error) {
	if k.reset == nil {
		return "", errdefs.New(errdefs.Unimplemented, "%s cannot be reset", k.plural)
	}
	return k.reset(name, m)
}

// Takes returns the remote controller that goes, with its bdevs, when the resource is deleted; "" for
// none.
func (k *Kind) Takes(name Name, m proto.Message, v View) string {
	if k.takes == nil {
		return ""
	}
	return k.takes(name, m, v)
}

// Live returns the message for an answer: a copy without secrets, with output-only fields filled in
// and the name set.
func (k *Kind) Live(r *Record, v View) proto.Message {
	m := proto.Clone(r.Message)
	k.takeSecrets(m)
	SetName(m, r.Name)
	if k.live != nil {
		k.live(r, m, v)
	}
	return m
}

// List returns the resources of a derived kind below parent.
func (k *Kind) List(parent Name, v View) []proto.Message { return k.derived(parent, v) }
