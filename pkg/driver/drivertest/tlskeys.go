// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// tlsKey returns a random key in the interchange format.
func tlsKey(name string) *driver.TLSKey {
	a, b := uuid.New(), uuid.New()
	raw := append(a[:], b[:]...)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	return &driver.TLSKey{Name: name, PSK: secret.FromString("NVMeTLSkey-1:01:" + base64.StdEncoding.EncodeToString(raw) + ":")}
}

// testTLSKeys makes keys of all sorts of names, over a restart.
func testTLSKeys(t *testing.T, s Suite) {
	b := s.bench(t)
	all := []driver.Object{tlsKey("plain"), tlsKey("opi-bridge:path:c0"), tlsKey("opi-bridge%3Apath:c0"), tlsKey("with blank/slash")}
	b.round(all...)
	for _, o := range all {
		b.must(driver.Create, o)
	}
	other := tlsKey("plain")
	step := driver.Step{Op: driver.Create, Object: other, Adopt: true}
	hides(t, b.apply(step)[0], other.PSK)
	b.refused(errdefs.AlreadyExists, step, "plain", "psk")
	b.serves(all...)
	for key, o := range b.observe() {
		if k, ok := o.(*driver.TLSKey); ok && !k.PSK.IsZero() {
			t.Errorf("%s is observed with its key", key)
		}
	}
	b.restart()
	b.lacks(all...)
	for _, o := range all {
		b.must(driver.Create, o)
	}
	b.serves(all...)
}

// testTLS lets hosts in by key.
func testTLS(t *testing.T, s Suite) {
	b := s.bench(t)
	create := func(o driver.Object) driver.Step { return driver.Step{Op: driver.Create, Object: o, Adopt: true} }
	closed, open := subsystem("closed"), subsystem("open")
	closed.AllowAnyHost = false
	key := tlsKey("opi-bridge:host:closed")
	host := &driver.Host{Subsystem: closed.NQN, NQN: hostNQN, TLSKey: key.Name}
	secure := &driver.Listener{Subsystem: closed.NQN, Address: loopback(b.port()), Secure: true}
	all := []driver.Object{closed, key, host, secure}
	b.round(all...)
	for _, o := range append(all, driver.Object(open)) {
		b.must(driver.Create, o)
	}
	b.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Delete, Object: key}, key.Name)
	b.serves(all...)
	b.refused(errdefs.FailedPrecondition, create(&driver.Host{Subsystem: closed.NQN, NQN: hostNQN + "2", TLSKey: "nokey"}), "nokey")
	b.refused(errdefs.FailedPrecondition, create(&driver.Listener{Subsystem: open.NQN, Address: loopback(b.port()), Secure: true}), "any host")
	// At one address all listeners agree.
	b.refused(errdefs.FailedPrecondition, create(&driver.Listener{Subsystem: open.NQN, Address: secure.Address}), secure.Address.String(), closed.NQN)
	// A host and its key go at the same time, as nothing tells that the one has the other.
	for i, err := range b.apply(
		driver.Step{Op: driver.Delete, Object: key},
		driver.Step{Op: driver.Delete, Object: &driver.Host{Subsystem: closed.NQN, NQN: hostNQN}},
	) {
		if err != nil {
			t.Errorf("delete %d: %v", i, err)
		}
	}
	b.lacks(key, host)
}
