// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// KeyMaterial is a key in hexadecimal digits. It goes over the wire in clear, as SPDK has it, and
// prints as [redacted] otherwise.
type KeyMaterial string

// Format writes [redacted] whatever the verb and flags are.
func (KeyMaterial) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[redacted]") }

// LogValue makes slog write [redacted].
func (KeyMaterial) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// AccelCryptoKeyCreate are parameters of accel_crypto_key_create.
type AccelCryptoKeyCreate struct {
	Name   string      `json:"name"`
	Cipher string      `json:"cipher"` // "AES_XTS"
	Key    KeyMaterial `json:"key"`
	Key2   KeyMaterial `json:"key2,omitempty"` // the tweak key of AES_XTS
}

// Do makes the call. SPDK refuses whatever it does not like with CodeInvalidParams, and the reason as
// an errno within the text.
func (p AccelCryptoKeyCreate) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "accel_crypto_key_create", p, nil)
}

// AccelCryptoKey is an element of accel_crypto_keys_get, with the key in clear.
type AccelCryptoKey struct {
	Name   string      `json:"name"`
	Cipher string      `json:"cipher"`
	Key    KeyMaterial `json:"key"`
	Key2   KeyMaterial `json:"key2"`
}

// cryptoKeyNamed is the parameter of the methods that take a key's name.
type cryptoKeyNamed struct {
	KeyName string `json:"key_name"`
}

// GetAccelCryptoKeys returns all volume keys (accel_crypto_keys_get), in clear.
func GetAccelCryptoKeys(ctx context.Context, c Caller) ([]AccelCryptoKey, error) {
	return get[[]AccelCryptoKey](ctx, c, "accel_crypto_keys_get", nil)
}

// GetAccelCryptoKey returns the volume key of that name (accel_crypto_keys_get), in clear;
// CodeInvalidParams if there is none.
func GetAccelCryptoKey(ctx context.Context, c Caller, name string) ([]AccelCryptoKey, error) {
	return get[[]AccelCryptoKey](ctx, c, "accel_crypto_keys_get", cryptoKeyNamed{name})
}

// AccelCryptoKeyDestroy destroys a volume key. SPDK does not look whether a bdev uses it, and dies if
// one does.
func AccelCryptoKeyDestroy(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "accel_crypto_key_destroy", cryptoKeyNamed{name}, nil)
}

// BdevCryptoCreate are parameters of bdev_crypto_create.
type BdevCryptoCreate struct {
	Name         string `json:"name"`
	BaseBdevName string `json:"base_bdev_name"`
	KeyName      string `json:"key_name"`
}

// Do makes the call. SPDK answers with the name. A base that does not exist is no error: the bdev
// appears when its base does, and until then it cannot be deleted.
func (p BdevCryptoCreate) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_crypto_create", p, nil)
}

// BdevCryptoDelete deletes a crypto bdev, not its key.
func BdevCryptoDelete(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "bdev_crypto_delete", named{name}, nil)
}
