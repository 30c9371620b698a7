// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestCapabilities asks what can be done before and after some of it has been tried.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := start(t, spdk.Config{
		Network: "unix", Address: p.socket, KeyDir: t.TempDir(), VfioUserDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	testkit.Eventually(t, "connected", func() error { return d.Status().Err })
	transport := func(transport driver.Transport) driver.TransportCapability {
		t.Helper()
		c, err := d.Capabilities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(c.Transports, func(c driver.TransportCapability) bool { return c.Transport == transport })
		if i < 0 {
			t.Fatalf("no word of %s", transport)
		}
		return c.Transports[i]
	}
	c, err := d.Capabilities(t.Context())
	if err != nil || !c.TLS || c.TLSReason != "" || c.Version != d.Status().Version || len(c.Limits) != 4 || len(c.Ciphers) != 1 ||
		!slices.Equal(c.Frontends, []driver.Frontend{driver.FrontendNvme, driver.FrontendVirtioBlk, driver.FrontendVirtioScsi}) ||
		!slices.Equal(c.Bdevs, []driver.BdevKind{driver.BdevNull, driver.BdevMalloc, driver.BdevAio, driver.BdevCrypto}) {
		t.Errorf("%+v, %v", c, err)
	}
	if got := transport(driver.TransportTCP); got.Listen != driver.ReadinessReady || got.Attach != driver.ReadinessReady {
		t.Errorf("%+v", got)
	}
	for _, other := range []driver.Transport{driver.TransportRDMA, driver.TransportPCIe} {
		if got := transport(other); got.Listen != driver.ReadinessUntried || got.Reason != "" {
			t.Errorf("before it is tried: %+v", got)
		}
	}
	p.refuse("nvmf_create_transport", -32603, "Failed to create transport.")
	rdma := &driver.Listener{Subsystem: someNQN, Address: tcp}
	rdma.Address.Transport = driver.TransportRDMA
	pcie := &driver.Listener{Subsystem: someNQN, Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "0.1.0"}}
	for _, l := range []*driver.Listener{rdma, pcie} {
		if err := do(t, d, driver.Create, l); err == nil {
			t.Errorf("%s was made", l.Key())
		}
		if got := transport(l.Address.Transport); got.Listen != driver.ReadinessMissing || got.Reason == "" {
			t.Errorf("after it was tried: %+v", got)
		}
	}
	path := &driver.Path{
		Controller: "c", Address: rdma.Address, SubsystemNQN: someNQN, Multipath: driver.MultipathMultipath,
	}
	if got := transport(driver.TransportRDMA); got.Attach != driver.ReadinessUntried {
		t.Errorf("before a path was tried: %+v", got)
	}
	if err := do(t, d, driver.Create, path); errdefs.ClassOf(err) != errdefs.FailedPrecondition {
		t.Errorf("a path over RDMA: %v", err)
	}
	if got := transport(driver.TransportRDMA); got.Attach != driver.ReadinessMissing || got.Reason == "" {
		t.Errorf("after a path was tried: %+v", got)
	}
	without := connected(t, p)
	if c, err := without.Capabilities(t.Context()); err != nil || c.TLS || c.TLSReason == "" || c.Transports[2].Listen != driver.ReadinessMissing {
		t.Errorf("without directories: %+v, %v", c, err)
	}
	p.stopNow()
	testkit.Eventually(t, "it is away", func() error {
		if _, err := d.Capabilities(t.Context()); !errors.Is(err, errdefs.Unavailable) {
			return errors.New("it is there")
		}
		return nil
	})
}

// TestPCIeWithoutDirectory says what is missing.
func TestPCIeWithoutDirectory(t *testing.T) {
	t.Parallel()
	d := connected(t, between(t))
	l := &driver.Listener{Subsystem: someNQN, Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "0.1.0"}}
	if err := do(t, d, driver.Create, l); !errors.Is(err, errdefs.Unimplemented) {
		t.Errorf("got %v", err)
	}
	if err := do(t, d, driver.Delete, l); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestNoKeysOverRDMA: SPDK would take the key and go on in the clear.
func TestNoKeysOverRDMA(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	address := tcp
	address.Transport = driver.TransportRDMA
	for _, o := range []driver.Object{
		&driver.Listener{Subsystem: someNQN, Address: address, Secure: true},
		&driver.Path{Controller: "c", Address: address, SubsystemNQN: someNQN, Multipath: driver.MultipathMultipath, TLSKey: "key0"},
	} {
		err := do(t, d, driver.Create, o)
		if errdefs.ClassOf(err) != errdefs.FailedPrecondition || !strings.Contains(err.Error(), "RDMA cannot encrypt") {
			t.Errorf("%s: %v", o.Key(), err)
		}
	}
}
