// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// stored is the form of a record in the store, readable by people:
//
//	{"state": "READY", "created": "2024-…Z", "updated": "2024-…Z",
//	 "message": {…the OPI message as protojson, proto names…},
//	 "prior":   {…only while UPDATING…}}
//
// Name and revision are the store's own.
type stored struct {
	State   State           `json:"state"`
	Created time.Time       `json:"created"`
	Updated time.Time       `json:"updated"`
	Message json.RawMessage `json:"message"`
	Prior   json.RawMessage `json:"prior,omitempty"`
}

// Encode returns the record's body for the store.
func (r *Record) Encode() ([]byte, error) {
	s := stored{State: r.State, Created: r.Created.UTC(), Updated: r.Updated.UTC()}
	var err error
	if s.Message, err = encodeMessage(r.Message); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", r.Name, err)
	}
	if r.Prior != nil {
		if s.Prior, err = encodeMessage(r.Prior); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", r.Name, err)
		}
	}
	return json.Marshal(s)
}

// Decode returns the record with that name and body. A field that this version does not know is an
// error: to drop it silently would change what the resource is.
func (k *Kind) Decode(name Name, revision uint64, body []byte) (*Record, error) {
	var s stored
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	switch s.State {
	case StateCreating, StateReady, StateUpdating, StateDeleting:
	default:
		return nil, fmt.Errorf("decoding %s: unknown state %q", name, s.State)
	}
	r := &Record{Name: name, Kind: k, State: s.State, Created: s.Created, Updated: s.Updated, Revision: revision}
	r.Message = k.New()
	if err := protojson.Unmarshal(s.Message, r.Message); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	if s.Prior != nil {
		r.Prior = k.New()
		if err := protojson.Unmarshal(s.Prior, r.Prior); err != nil {
			return nil, fmt.Errorf("decoding %s before its update: %w", name, err)
		}
	}
	return r, nil
}

func encodeMessage(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
}
