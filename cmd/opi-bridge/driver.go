// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/opi-bridge/opi-bridge/pkg/driver/kvm"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
)

// The values of --driver.
const (
	driverSPDK = "spdk"
	driverKVM  = "kvm"
)

// driverSettings say which driver there is, and where it finds a virtual machine.
type driverSettings struct {
	driver, qmp, vhostDir, pciBuses string
	unplugNvme                      bool
}

// define adds a flag for each setting.
func (s *driverSettings) define(f *pflag.FlagSet) {
	f.StringVar(&s.driver, "driver", driverSPDK, "spdk, or kvm: as spdk, and devices are plugged into a running QEMU")
	f.StringVar(&s.qmp, "qmp", "", "with --driver kvm: QEMU's monitor (its option -qmp), of which the bridge is the only client: unix:///path or tcp://host:port")
	f.StringVar(&s.vhostDir, "vhost-dir", "/var/tmp", "with --driver kvm: directory of the data plane's vhost-user sockets (its option -S), which QEMU must see under the same path")
	f.StringVar(&s.pciBuses, "pci-buses", "", "with --driver kvm: ids of QEMU's PCI buses for devices, comma-separated, such as pci.opi.0,pci.opi.1")
	f.BoolVar(&s.unplugNvme, "unplug-nvme", false, "with --driver kvm: unplug NVMe controllers from the running guest; QEMU 10.1 to 11.1 abort at that unless they were mended")
}

// buses returns the list that --pci-buses is.
func (s *driverSettings) buses() []string {
	if s.pciBuses == "" {
		return nil
	}
	return strings.Split(s.pciBuses, ",")
}

// check tells wrong what is wrong.
func (s *driverSettings) check(wrong func(setting, format string, args ...any)) {
	switch s.driver {
	case driverKVM:
		if _, _, err := spdkAddress(s.qmp); err != nil {
			wrong("qmp", "%w", err)
		}
		if err := kvm.CheckBuses(s.buses()); err != nil {
			wrong("pci-buses", "%w", err)
		}
		if s.vhostDir == "" {
			wrong("vhost-dir", "must name a directory")
		}
	case driverSPDK:
		for setting, value := range map[string]string{"qmp": s.qmp, "pci-buses": s.pciBuses} {
			if value != "" {
				wrong(setting, "%q has a meaning with --driver kvm only", value)
			}
		}
		if s.unplugNvme {
			wrong("unplug-nvme", "has a meaning with --driver kvm only")
		}
	default:
		wrong("driver", "%q is neither spdk nor kvm", s.driver)
	}
}

// newDriver returns the driver that the settings ask for.
func (s *settings) newDriver(log *slog.Logger, observe func(ctx context.Context, method string, took time.Duration, err error)) (dataPlane, error) {
	network, address, err := spdkAddress(s.spdk)
	if err != nil {
		return nil, err
	}
	plain, err := spdk.New(spdk.Config{
		Network: network, Address: address, KeyDir: s.keyDirectory(), VfioUserDir: s.vfioUserDir, Log: log, ObserveCall: observe,
	})
	if err != nil || s.host.driver == driverSPDK {
		return plain, err
	}
	network, address, err = spdkAddress(s.host.qmp)
	if err != nil {
		return nil, fmt.Errorf("QMP: %w", err)
	}
	return kvm.New(kvm.Config{
		Inner: plain, Network: network, Address: address,
		VhostDir: s.host.vhostDir, VfioUserDir: s.vfioUserDir, Buses: s.host.buses(), UnplugNvme: s.host.unplugNvme, Log: log,
	})
}
