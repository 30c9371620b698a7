// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// seal returns the secrets of a record as the store keeps them: a JSON object from field to sealed
// value, each bound to its record and field. Nil when there are none.
func (e *Engine) seal(name resource.Name, secrets map[string]secret.Value) ([]byte, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	if e.cfg.Sealer == nil {
		return nil, noSealer(name)
	}
	sealed := make(map[string]string, len(secrets))
	for field, value := range secrets {
		sealed[field] = e.cfg.Sealer.Seal(value, secret.Place{Document: string(name), Field: field})
	}
	return json.Marshal(sealed)
}

// open is the reverse of seal.
func (e *Engine) open(name resource.Name, raw []byte) (map[string]secret.Value, error) {
	if len(raw) == 0 {
		return nil, nil //nolint:nilnil // no secrets is an answer
	}
	if e.cfg.Sealer == nil {
		return nil, noSealer(name)
	}
	var sealed map[string]string
	if err := json.Unmarshal(raw, &sealed); err != nil {
		return nil, errdefs.Wrap(errdefs.Internal, err, "the sealed secrets of %s cannot be read", name)
	}
	secrets := make(map[string]secret.Value, len(sealed))
	for field, text := range sealed {
		value, err := e.cfg.Sealer.Open(text, secret.Place{Document: string(name), Field: field})
		if err != nil {
			return nil, errdefs.Wrap(errdefs.FailedPrecondition, err, "the sealed secrets of %s cannot be opened", name)
		}
		secrets[field] = value
	}
	return secrets, nil
}

func noSealer(name resource.Name) error {
	return errdefs.New(errdefs.FailedPrecondition,
		"%s holds a secret, and this bridge has no key to seal it with: start it with --secret-key-file", name)
}
