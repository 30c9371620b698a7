// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// State says how far a resource has come.
type State string

// The states. All but StateReady are intents: they are written before the data plane is touched, and
// stand until the outcome is known.
const (
	StateCreating State = "CREATING"
	StateReady    State = "READY"
	StateUpdating State = "UPDATING"
	StateDeleting State = "DELETING"
)

// Record is what is kept of a resource. A Record is not changed once it can be seen by others:
// whoever wants another one makes a copy with [Record.With].
type Record struct {
	// Name is the resource's name.
	Name Name
	// Kind is its kind.
	Kind *Kind
	// Message is what should be: complete, without output-only fields.
	Message proto.Message
	// Prior is what should have been before the update that is under way, else nil.
	Prior proto.Message
	// Facts are what the bridge itself has decided about the resource, beyond what the message can
	// hold: the slot of a LUN, say. Set by Complete, kept for ever.
	Facts map[string]string
	// State is how far it has come.
	State State
	// Created and Updated are when it was first asked for and last changed.
	Created, Updated time.Time
	// Revision is the store's, 0 before the first write.
	Revision uint64
}

// With returns a copy of r changed by f.
func (r *Record) With(f func(*Record)) *Record {
	c := *r
	f(&c)
	return &c
}
