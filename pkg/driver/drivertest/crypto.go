// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// volumeKey returns a random key of halves of that many bytes.
func volumeKey(name string, half int) *driver.CryptoKey {
	random := func() secret.Value {
		var b []byte
		for len(b) < half {
			id := uuid.New()
			b = append(b, id[:]...)
		}
		return secret.New(b[:half])
	}
	return &driver.CryptoKey{Name: name, Cipher: driver.CipherAESXTS, Data: random(), Tweak: random()}
}

func encrypted(name string, base *driver.Bdev, key *driver.CryptoKey) *driver.Bdev {
	return &driver.Bdev{Name: name, Kind: driver.BdevCrypto, Base: base.Name, CryptoKey: key.Name}
}

// hides checks that an error does not show a key.
func hides(t *testing.T, err error, values ...secret.Value) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	for _, v := range values {
		for _, form := range []string{v.RevealString(), hex.EncodeToString(v.Reveal()), base64.StdEncoding.EncodeToString(v.Reveal())} {
			if form != "" && strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
				t.Errorf("an error shows a key: %s", text)
			}
		}
	}
}

// testCrypto makes keys and what is encrypted with them, in use and not, over a restart.
func testCrypto(t *testing.T, s Suite) {
	b := s.bench(t)
	for name, half := range map[string]int{"k128": 16, "k256:with a colon": 32} {
		base := malloc("base-" + name)
		key := volumeKey(name, half)
		c := encrypted("crypto-"+name, base, key)
		all := []driver.Object{base, key, c}
		life := func() {
			for _, o := range all {
				b.must(driver.Create, o)
			}
			b.serves(all...)
			got, ok := b.observe()[c.Key()].(*driver.Bdev)
			if !ok || got.Blocks != base.Blocks || got.BlockSizeBytes != base.BlockSizeBytes || got.UUID == "" || got.UUID == base.UUID {
				t.Errorf("crypto bdev %+v on %+v", got, base)
			}
			if got, ok := b.observe()[base.Key()].(*driver.Bdev); !ok || !got.Claimed {
				t.Errorf("the bdev below is not claimed: %+v", got)
			}
		}
		life()
		for _, o := range all[1:] {
			b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: o}, o.Key().String())
			if err := b.apply(driver.Step{Op: driver.Create, Object: o, Adopt: true})[0]; err != nil {
				t.Errorf("adopt %s: %v", o.Key(), err)
			}
			if err := b.apply(driver.Step{Op: driver.Update, Object: o, From: o})[0]; o != driver.Object(c) && err == nil {
				t.Errorf("%s: updated", o.Key())
			}
		}
		other := volumeKey(name, half)
		err := b.apply(driver.Step{Op: driver.Create, Object: other, Adopt: true})[0]
		hides(t, err, other.Data, other.Tweak, key.Data, key.Tweak)
		b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: other, Adopt: true}, name, "key")
		if differ := other.Differences(b.observe()[key.Key()]); len(differ) != 1 {
			t.Errorf("another key differs in %v", differ)
		}
		// In use: it stays, and so does the data plane.
		b.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Delete, Object: key}, name, c.Name)
		b.serves(all...)
		uuidBefore, _ := b.observe()[c.Key()].(*driver.Bdev)

		b.restart()
		b.lacks(all...)
		life()
		if after, _ := b.observe()[c.Key()].(*driver.Bdev); after == nil || uuidBefore == nil || after.UUID != uuidBefore.UUID {
			t.Errorf("the identity has changed over a restart: %+v, %+v", uuidBefore, after)
		}

		errs := b.apply(
			driver.Step{Op: driver.Delete, Object: c},
			driver.Step{Op: driver.Delete, Object: key, After: []int{0}},
			driver.Step{Op: driver.Delete, Object: base, After: []int{0}},
		)
		for i, err := range errs {
			if err != nil {
				t.Errorf("delete %d: %v", i, err)
			}
		}
		b.lacks(all...)
		for _, o := range all {
			b.must(driver.Delete, o)
		}
	}
}

// testCryptoRefusals makes what cannot be made, and nothing of it stays.
func testCryptoRefusals(t *testing.T, s Suite) {
	b := s.bench(t)
	create := func(o driver.Object) driver.Step { return driver.Step{Op: driver.Create, Object: o, Adopt: true} }
	base, key := malloc("base"), volumeKey("key", 16)
	b.must(driver.Create, base)
	b.must(driver.Create, key)

	short := volumeKey("short", 8)
	b.refused(errdefs.InvalidArgument, create(short), "short", "16 or 32")
	hides(t, b.do(driver.Create, short), short.Data, short.Tweak)
	twin := volumeKey("twin", 16)
	twin.Tweak = secret.New(bytes.Clone(twin.Data.Reveal()))
	b.refused(errdefs.InvalidArgument, create(twin), "twin")

	b.refused(errdefs.NotFound, create(encrypted("c", base, volumeKey("nokey", 16))), "nokey")
	later := malloc("later")
	early := encrypted("early", later, key)
	b.refused(errdefs.NotFound, create(early), "early", "later")
	b.must(driver.Create, later)
	b.lacks(early) // nothing is remembered

	sub := subsystem("s")
	b.must(driver.Create, sub)
	b.must(driver.Create, namespace(sub, 3, later))
	b.refused(errdefs.FailedPrecondition, create(early), "later", "namespace 3", sub.NQN)
	taken := encrypted("later", base, key)
	b.refused(errdefs.AlreadyExists, create(taken), "later")
	b.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Delete, Object: taken}, "later")
	b.serves(base, later, key)
}

// testCryptoReturns takes the base away under a crypto bdev: both come back, whoever makes them.
func testCryptoReturns(t *testing.T, s Suite) {
	b := s.bench(t)
	base, key := malloc("base"), volumeKey("key", 32)
	c := encrypted("c", base, key)
	for _, o := range []driver.Object{base, key, c} {
		b.must(driver.Create, o)
	}
	b.must(driver.Delete, base)
	b.lacks(base, c)
	// Without knowing that the data plane may bring it back by itself.
	errs := b.apply(
		driver.Step{Op: driver.Create, Object: base},
		driver.Step{Op: driver.Create, Object: c, After: []int{0}, Adopt: true},
	)
	for i, err := range errs {
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	b.serves(base, key, c)
	b.must(driver.Delete, c)
	b.must(driver.Delete, key)
	b.lacks(c, key)
	b.must(driver.Delete, base)
	b.must(driver.Create, base)
	b.lacks(c)
}
