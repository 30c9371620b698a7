// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestLooksAreShared: keys that go together do not list all bdevs once for each.
func TestLooksAreShared(t *testing.T) {
	t.Parallel()
	const keys = 200
	p := between(t)
	d := connected(t, p)
	var create, remove []driver.Step
	for i := range uint64(keys) {
		half := func(n uint64) secret.Value {
			return secret.New(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, n), i))
		}
		k := &driver.CryptoKey{Name: fmt.Sprint("k", i), Cipher: driver.CipherAESXTS, Data: half(1), Tweak: half(2)}
		create = append(create, driver.Step{Op: driver.Create, Object: k})
		remove = append(remove, driver.Step{Op: driver.Delete, Object: k})
	}
	for _, batch := range [][]driver.Step{create, remove} {
		if err := errors.Join(d.Apply(t.Context(), batch)...); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.calls("bdev_get_bdevs")); n == 0 || n > keys/2 {
		t.Errorf("%d looks for %d keys", n, keys)
	}
	if observed(t, d, create[0].Object) {
		t.Error("a key is left")
	}
}

// TestLookGivenUp: who gives up does not wait, and does not take the look from others.
func TestLookGivenUp(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	held := make(chan *jsonrpc.Call, 10)
	p.rule("bdev_get_bdevs", func(c *jsonrpc.Call) { held <- c })
	step := []driver.Step{{Op: driver.Delete, Object: &driver.CryptoKey{Name: "k"}}}
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error, 2)
	go func() { outcome <- d.Apply(ctx, step)[0] }()
	first := <-held
	other := []driver.Step{{Op: driver.Delete, Object: &driver.CryptoKey{Name: "other"}}}
	go func() { outcome <- d.Apply(t.Context(), other)[0] }()
	cancel()
	if err := <-outcome; !errors.Is(err, errdefs.Canceled) {
		t.Errorf("got %v", err)
	}
	p.rule("bdev_get_bdevs", nil)
	p.forward(first, nil)
	if err := <-outcome; err != nil {
		t.Errorf("the other: %v", err)
	}
	testkit.Eventually(t, "it can be tried again", func() error { return d.Apply(t.Context(), step)[0] })
}
