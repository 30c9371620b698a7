// SPDX-License-Identifier: Apache-2.0

package driver

import "github.com/opi-bridge/opi-bridge/pkg/secret"

// TypeCryptoKey is a volume key in the data plane's crypto engine.
const TypeCryptoKey Type = "crypto_key"

// Cipher is an encryption of volumes, in SPDK's words.
type Cipher string

// CipherAESXTS is AES-XTS (IEEE 1619) with keys of 128 or 256 bits, as the halves are long.
const CipherAESXTS Cipher = "AES_XTS"

// CryptoKey is a volume key.
type CryptoKey struct {
	// Name is the key's name, unique in the data plane.
	Name string
	// Cipher is what the key is for.
	Cipher Cipher
	// Data and Tweak are the halves of an XTS key, 16 or 32 bytes each and not equal.
	Data, Tweak secret.Value
}

// CryptoKeyKey returns the key of the volume key with that name.
func CryptoKeyKey(name string) Key { return Key{TypeCryptoKey, name} }

// Key implements [Object].
func (k *CryptoKey) Key() Key { return CryptoKeyKey(k.Name) }

// Needs implements [Object].
func (k *CryptoKey) Needs() []Key { return nil }

// Differences implements [Object].
func (k *CryptoKey) Differences(observed Object) []string {
	o, ok := observed.(*CryptoKey)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("cipher", k.Cipher == o.Cipher)
	d.check("key", k.Data.Equal(o.Data) && k.Tweak.Equal(o.Tweak))
	return d.found
}

// Remedy implements [Object]: data written with one key cannot be read with another.
func (k *CryptoKey) Remedy([]string) Remedy { return RemedyNone }
