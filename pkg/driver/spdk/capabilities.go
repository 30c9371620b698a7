// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Capabilities implements [driver.Capable], from the methods that SPDK has, its version, and what has
// been tried. SPDK cannot be asked which transports it was built with.
func (d *Driver) Capabilities(ctx context.Context) (driver.Capabilities, error) {
	status := d.Status()
	if !status.Up {
		return driver.Capabilities{}, errdefs.Wrap(errdefs.Unavailable, status.Err, "what the data plane can do is not known while it is away")
	}
	sess, _ := d.now()
	c := driver.Capabilities{Version: status.Version}
	for _, kind := range []struct {
		method string
		kind   driver.BdevKind
		can    bool
	}{
		{"bdev_null_create", driver.BdevNull, true},
		{"bdev_malloc_create", driver.BdevMalloc, true},
		{"bdev_aio_create", driver.BdevAio, sess.features.AioUUID},
		{"bdev_crypto_create", driver.BdevCrypto, sess.methods["accel_crypto_key_create"]},
	} {
		if sess.methods[kind.method] && kind.can {
			c.Bdevs = append(c.Bdevs, kind.kind)
			if kind.kind == driver.BdevCrypto {
				c.Ciphers = []driver.CipherCapability{{Cipher: driver.CipherAESXTS, KeyBits: []int{128, 256}}}
			}
		}
	}
	for _, f := range []struct {
		method   string
		frontend driver.Frontend
	}{
		{"nvmf_create_subsystem", driver.FrontendNvme},
		{"vhost_create_blk_controller", driver.FrontendVirtioBlk},
		{"vhost_create_scsi_controller", driver.FrontendVirtioScsi},
	} {
		if sess.methods[f.method] {
			c.Frontends = append(c.Frontends, f.frontend)
		}
	}
	if sess.methods["bdev_set_qos_limit"] {
		const bandwidth = "MiB per second"
		c.Limits = []driver.LimitCapability{
			{Name: "rw_ios_per_sec", Unit: "operations per second", Step: iopsStep},
			{Name: "rw_mbytes_per_sec", Unit: bandwidth, Step: 1},
			{Name: "r_mbytes_per_sec", Unit: bandwidth, Step: 1},
			{Name: "w_mbytes_per_sec", Unit: bandwidth, Step: 1},
		}
	}
	switch {
	case sess.features.Keyring && !sess.methods[addKey]:
		c.TLSReason = "this data plane has no method " + addKey
	case d.keys.dir == "":
		c.TLSReason = "no directory for key files was given (--key-dir)"
	default:
		c.TLS = true
	}
	var err error
	c.Transports, err = d.transportCapabilities(ctx, sess)
	return c, err
}

// transportCapabilities says of each transport how sure it is that it works.
func (d *Driver) transportCapabilities(ctx context.Context, sess session) ([]driver.TransportCapability, error) {
	known, lack, err := sess.transports.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	attach := driver.ReadinessMissing
	if sess.methods["bdev_nvme_attach_controller"] {
		attach = driver.ReadinessUntried
	}
	var all []driver.TransportCapability
	for _, t := range []struct{ transport, of driver.Transport }{
		{driver.TransportTCP, driver.TransportTCP},
		{driver.TransportRDMA, driver.TransportRDMA},
		{driver.TransportPCIe, transportVfioUser},
	} {
		one := driver.TransportCapability{Transport: t.transport, Listen: driver.ReadinessUntried, Attach: attach, Reason: lack[t.of]}
		switch {
		case known[t.of]:
			one.Listen, one.Reason = driver.ReadinessReady, ""
		case !sess.methods["nvmf_create_transport"]:
			one.Listen, one.Reason = driver.ReadinessMissing, "this data plane has no method nvmf_create_transport"
		case t.transport == driver.TransportPCIe && d.vfioUserDir == "":
			one.Listen, one.Reason = driver.ReadinessMissing, "no directory for vfio-user endpoints was given (--vfio-user-dir)"
		case one.Reason != "":
			one.Listen = driver.ReadinessMissing
		case t.transport == driver.TransportTCP:
			one.Listen = driver.ReadinessReady // every SPDK has it
		}
		pathLack, tried := sess.transports.attach(t.transport)
		switch {
		case attach == driver.ReadinessMissing:
		case pathLack != "":
			one.Attach = driver.ReadinessMissing
			one.Reason = cmp.Or(one.Reason, pathLack)
		case tried || t.transport == driver.TransportTCP:
			one.Attach = driver.ReadinessReady
		}
		all = append(all, one)
	}
	return all, nil
}

// snapshot returns copies of what is known of transports.
func (t *transports) snapshot(ctx context.Context) (known map[driver.Transport]bool, lack map[driver.Transport]string, err error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, nil, stopped(ctx)
	}
	return maps.Clone(t.known), maps.Clone(t.lack), nil
}

// directories takes over the directories of the configuration, as absolute paths.
func (d *Driver) directories(cfg Config) (err error) {
	if d.keys, err = newKeyFiles(cfg.KeyDir, cfg.Network+"://"+cfg.Address); err != nil {
		return err
	}
	if cfg.VfioUserDir == "" {
		return nil
	}
	if d.vfioUserDir, err = filepath.Abs(cfg.VfioUserDir); err != nil {
		return fmt.Errorf("directory of vfio-user endpoints: %w", err)
	}
	return nil
}
