// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestCapabilitiesAreTrue does what each data plane says that it can do, and what it says that it cannot:
// every version of SPDK that can be played, and the newest without each of its modules.
func TestCapabilitiesAreTrue(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{
		{},
		{"--spdk-version", "24.01"},
		{"--spdk-version", "24.05"},
		{"--spdk-version", "24.09"},
		{"--spdk-version", "25.01"},
		{"--spdk-version", "25.05"},
		{"--spdk-version", "25.09"},
		{"--spdk-version", "26.01"},
		{"--spdk-version", "26.05"},
		{"--without-module", "aio"},
		{"--without-module", "crypto"},
		{"--without-module", "keyring"},
		{"--without-module", "null"},
		{"--without-module", "nvme"},
		{"--without-module", "nvmf"},
		{"--without-module", "tcp"},
		{"--without-module", "vhost"},
	} {
		t.Run(strings.TrimPrefix(strings.Join(flags, " "), "--"), func(t *testing.T) {
			t.Parallel()
			plane := testkit.DataPlane(testkit.WithoutRace(t), append(flags, "--vhost-dir", testkit.SocketDir(t))...)
			d := start(t, spdk.Config{
				Network: "unix", Address: plane.Socket(), KeyDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
			})
			testkit.Eventually(t, "connected", func() error { return d.Status().Err })
			promises(t, d)
		})
	}
}

// promises tries everything that capabilities speak of.
func promises(t *testing.T, d *spdk.Driver) {
	t.Helper()
	said, err := d.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transport := func(of driver.Transport) driver.TransportCapability {
		i := slices.IndexFunc(said.Transports, func(c driver.TransportCapability) bool { return c.Transport == of })
		if i < 0 {
			t.Fatalf("no word of %s", of)
		}
		return said.Transports[i]
	}
	check := func(what string, offered bool, reason string, o driver.Object, needs ...driver.Object) {
		t.Helper()
		for _, need := range needs {
			if err := do(t, d, driver.Create, need); err != nil && offered {
				t.Errorf("%s, for which there must be %s: %v", what, need.Key(), err)
				return
			}
		}
		err := do(t, d, driver.Create, o)
		switch {
		case offered && err != nil:
			t.Errorf("%s is offered, and refused: %v", what, err)
		case !offered && err == nil:
			t.Errorf("%s is not offered, and was made", what)
		case !offered && !strings.Contains(err.Error(), reason):
			t.Errorf("%s is refused with %v, and capabilities say %q", what, err, reason)
		case !offered && !slices.Contains([]errdefs.Class{errdefs.Unimplemented, errdefs.FailedPrecondition}, errdefs.ClassOf(err)):
			t.Errorf("%s is refused as %q: %v", what, errdefs.ClassOf(err), err)
		}
		if err == nil {
			_ = do(t, d, driver.Delete, o)
		}
		for _, need := range slices.Backward(needs) {
			_ = do(t, d, driver.Delete, need)
		}
	}
	ram := bdev("ram")
	file := &driver.Bdev{Name: "file", Kind: driver.BdevAio, BlockSizeBytes: 512, UUID: someUUID, Filename: filepath.Join(t.TempDir(), "file")}
	if err := os.WriteFile(file.Filename, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	null := &driver.Bdev{Name: "null", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 2048, UUID: someUUID}
	key := &driver.CryptoKey{
		Name: "key", Cipher: driver.CipherAESXTS,
		Data: secret.New([]byte(strings.Repeat("d", 16))), Tweak: secret.New([]byte(strings.Repeat("t", 16))),
	}
	safe := &driver.Bdev{Name: "safe", Kind: driver.BdevCrypto, Base: "ram", CryptoKey: "key"}
	makes := func(kind driver.BdevKind) bool { return slices.Contains(said.Bdevs, kind) }
	check("a null bdev", makes(driver.BdevNull), "", null)
	check("a malloc bdev", makes(driver.BdevMalloc), "", ram)
	check("an aio bdev", makes(driver.BdevAio), "", file)
	check("a crypto bdev", makes(driver.BdevCrypto) && len(said.Ciphers) > 0, "", safe, ram, key)
	check("limits", len(said.Limits) > 0, "", &driver.Limits{Bdev: "ram", IOPS: 1000}, ram)

	shows := func(f driver.Frontend) bool { return slices.Contains(said.Frontends, f) }
	sub := &driver.Subsystem{NQN: someNQN, SerialNumber: "S", AllowAnyHost: true}
	check("a subsystem", shows(driver.FrontendNvme), "", sub)
	check("a virtio-blk device", shows(driver.FrontendVirtioBlk), "", &driver.VirtioBlk{Name: "blk", Bdev: "ram"}, ram)
	check("a virtio-scsi controller", shows(driver.FrontendVirtioScsi), "", &driver.VirtioScsi{Name: "scsi"})

	over := func(t driver.Transport, port int) driver.Address {
		return driver.Address{Transport: t, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port)}
	}
	if shows(driver.FrontendNvme) {
		// Which transports were built in is found out by trying: from then on it is said.
		l := &driver.Listener{Subsystem: someNQN, Address: over(driver.TransportTCP, testkit.FreePort(t))}
		_ = do(t, d, driver.Create, sub)
		if do(t, d, driver.Create, l) != nil {
			if said, err = d.Capabilities(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_ = do(t, d, driver.Delete, sub)
		tcp := transport(driver.TransportTCP)
		check("a TCP listener", tcp.Listen == driver.ReadinessReady, tcp.Reason, l, sub)
		said := transport(driver.TransportPCIe)
		check("a PCIe listener", said.Listen != driver.ReadinessMissing, "--vfio-user-dir",
			&driver.Listener{Subsystem: someNQN, Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "0.1.0"}}, sub)
	}
	if tcp := transport(driver.TransportTCP); tcp.Attach == driver.ReadinessMissing {
		check("a path", false, "", &driver.Path{
			Controller: "c", Address: over(driver.TransportTCP, testkit.FreePort(t)), SubsystemNQN: someNQN, Multipath: driver.MultipathMultipath,
		})
	}
	psk := &driver.TLSKey{Name: "psk", PSK: secret.New([]byte("NVMeTLSkey-1:01:MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmZwJEiQ:"))}
	check("a TLS key", said.TLS, said.TLSReason, psk)
}
