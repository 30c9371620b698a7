// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/url"
	"path/filepath"

	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
)

// keysOfRedis is where key files are when the store is no file.
const keysOfRedis = "/var/lib/opi-bridge/keys"

// keyDirectory returns the directory of the files through which the data plane gets pre-shared keys:
// the one that was named, or one beside the store's file.
func (s *settings) keyDirectory() string {
	if s.keyDir != "" {
		return s.keyDir
	}
	if u, err := url.Parse(s.store); err == nil && u.Scheme == bolt.Scheme && u.Path != "" {
		return filepath.Join(filepath.Dir(u.Path), "keys")
	}
	return keysOfRedis
}

// sealer returns what seals secrets for the store, nil if no key file was named: then resources with
// secrets are refused. A file that does not exist is made: an operator who names one wants secrets to
// be kept, and has to keep that file from then on.
func (s *settings) sealer() (*secret.Sealer, error) {
	if s.secretKeyFile == "" {
		return nil, nil //nolint:nilnil // none is an answer, not an error
	}
	return secret.LoadOrCreateKeyFile(s.secretKeyFile)
}
