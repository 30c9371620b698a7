// SPDX-License-Identifier: Apache-2.0

package driver

import "github.com/opi-bridge/opi-bridge/pkg/secret"

// TypeTLSKey is a pre-shared key for NVMe/TCP over TLS.
const TypeTLSKey Type = "tls_key"

// TLSKey is a pre-shared key that hosts and paths refer to by name.
type TLSKey struct {
	// Name is the key's name, unique in the data plane.
	Name string
	// PSK is the key in the interchange format of the NVMe/TCP Transport Specification, section
	// 3.6.1.5: "NVMeTLSkey-1:<hash>:<base64 of key and CRC-32>:". Observed keys have none, for no data
	// plane tells it.
	PSK secret.Value
}

// TLSKeyKey returns the key of the pre-shared key with that name.
func TLSKeyKey(name string) Key { return Key{TypeTLSKey, name} }

// Key implements [Object].
func (k *TLSKey) Key() Key { return TLSKeyKey(k.Name) }

// Needs implements [Object].
func (k *TLSKey) Needs() []Key { return nil }

// Differences implements [Object].
func (k *TLSKey) Differences(observed Object) []string {
	if _, ok := observed.(*TLSKey); !ok {
		return []string{"type"}
	}
	return nil
}

// Remedy implements [Object].
func (k *TLSKey) Remedy([]string) Remedy { return RemedyNone }
