// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// stored is the form of a record in the store, readable by people:
//
//	{"state": "READY", "created": "2024-…Z", "updated": "2024-…Z",
//	 "facts": {…only where there are any…},
//	 "message": {…the OPI message as protojson, proto names…},
//	 "prior":   {…only while UPDATING…}}
//
// Name and revision are the store's own. Secrets are not in it; they go apart, under the names of
// their fields, "message.key" and "prior.key".
type stored struct {
	State   State             `json:"state"`
	Created time.Time         `json:"created"`
	Updated time.Time         `json:"updated"`
	Facts   map[string]string `json:"facts,omitempty"`
	Message json.RawMessage   `json:"message"`
	Prior   json.RawMessage   `json:"prior,omitempty"`
}

// Encode returns the record's body for the store, and apart from it the secrets, nil when there are
// none.
func (r *Record) Encode() (body []byte, secrets map[string]secret.Value, err error) {
	s := stored{State: r.State, Created: r.Created.UTC(), Updated: r.Updated.UTC(), Facts: r.Facts}
	secrets = map[string]secret.Value{}
	if s.Message, err = r.encode("message", r.Message, secrets); err != nil {
		return nil, nil, err
	}
	if r.Prior != nil {
		if s.Prior, err = r.encode("prior", r.Prior, secrets); err != nil {
			return nil, nil, err
		}
	}
	body, err = json.Marshal(s)
	return body, secrets, err
}

// encode returns a message without its secrets, and puts those into secrets.
func (r *Record) encode(member string, m proto.Message, secrets map[string]secret.Value) (json.RawMessage, error) {
	if len(r.Kind.secrets) > 0 {
		m = proto.Clone(m)
		for path, value := range r.Kind.takeSecrets(m) {
			secrets[member+"."+path] = value
		}
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", r.Name, err)
	}
	return raw, nil
}

// Decode returns the record with that name, body and secrets. A field that this version does not know
// is an error: to drop it silently would change what the resource is.
func (k *Kind) Decode(name Name, revision uint64, body []byte, secrets map[string]secret.Value) (*Record, error) {
	var s stored
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	switch s.State {
	case StateCreating, StateReady, StateUpdating, StateDeleting:
	default:
		return nil, fmt.Errorf("decoding %s: unknown state %q", name, s.State)
	}
	r := &Record{
		Name: name, Kind: k, State: s.State, Facts: s.Facts, Created: s.Created, Updated: s.Updated, Revision: revision,
	}
	var err error
	if r.Message, err = k.decode(name, "message", s.Message, secrets); err != nil {
		return nil, err
	}
	if s.Prior != nil {
		r.Prior, err = k.decode(name, "prior", s.Prior, secrets)
	}
	return r, err
}

// decode is the reverse of encode.
func (k *Kind) decode(name Name, member string, raw json.RawMessage, secrets map[string]secret.Value) (proto.Message, error) {
	m := k.New()
	if err := protojson.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("decoding %s of %s: %w", member, name, err)
	}
	own := map[string]secret.Value{}
	for field, value := range secrets {
		if path, ok := strings.CutPrefix(field, member+"."); ok {
			own[path] = value
		}
	}
	k.putSecrets(m, own)
	return m, nil
}
