// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"errors"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// TestNoCryptoEngine tells an SPDK that cannot encrypt from a key that it does not take.
func TestNoCryptoEngine(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	key := &driver.CryptoKey{Name: "k", Cipher: driver.CipherAESXTS, Data: secret.FromString("0123456789abcdef"), Tweak: secret.FromString("fedcba9876543210")}
	for message, want := range map[string]errdefs.Class{
		"failed to create DEK, rc -95": errdefs.Unimplemented,
		"failed to create DEK, rc -22": errdefs.InvalidArgument,
	} {
		p.refuse("accel_crypto_key_create", -32602, message)
		if err := do(t, d, driver.Create, key); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %s", message, err, want)
		}
	}
}
