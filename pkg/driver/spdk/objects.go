// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"strconv"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// bdevObject returns what SPDK tells of a bdev as an object.
func bdevObject(b *spdkrpc.Bdev) *driver.Bdev {
	o := &driver.Bdev{
		Name: b.Name, Kind: driver.BdevForeign, BlockSizeBytes: b.BlockSize, Blocks: b.NumBlocks,
		MetadataBytes: b.MdSize, UUID: strings.ToLower(b.UUID), Claimed: b.Claimed, Aliases: b.Aliases,
	}
	if b.MdInterleave && b.MdSize < b.BlockSize {
		o.BlockSizeBytes -= b.MdSize
	}
	switch b.ProductName {
	case spdkrpc.ProductNull:
		o.Kind = driver.BdevNull
	case spdkrpc.ProductMalloc:
		o.Kind = driver.BdevMalloc
	case spdkrpc.ProductAio:
		o.Kind = driver.BdevAio
		o.Filename = b.Aio().Filename
	case spdkrpc.ProductCrypto:
		o.Kind = driver.BdevCrypto
		o.Base, o.CryptoKey = b.Crypto().BaseBdevName, b.Crypto().KeyName
	case spdkrpc.ProductNvme:
		o.Kind = driver.BdevNvme
		if paths := b.Nvme(); len(paths) > 0 {
			nsid := paths[0].NsData.ID
			if name, ok := strings.CutSuffix(b.Name, "n"+strconv.FormatUint(uint64(nsid), 10)); ok {
				o.Nvme = &driver.NvmeOrigin{Controller: name, NSID: nsid}
			}
		}
	}
	return o
}

// address returns a transport id in the words of package driver.
func address(trtype, adrfam, traddr, trsvcid string) driver.Address {
	a := driver.Address{
		Transport: driver.Transport(strings.ToUpper(trtype)), Traddr: traddr, Trsvcid: trsvcid,
	}
	for _, f := range []driver.Family{driver.FamilyIPv4, driver.FamilyIPv6} {
		if strings.EqualFold(adrfam, string(f)) {
			a.Family = f
		}
	}
	return a.Canonical()
}

// pathObjects returns the paths of a controller.
func pathObjects(c *spdkrpc.NvmeController) []*driver.Path {
	var all []*driver.Path
	for _, ctrlr := range c.Ctrlrs {
		path := func(t spdkrpc.Trid, state string) *driver.Path {
			return &driver.Path{
				Controller: c.Name, Address: address(t.Trtype, t.Adrfam, t.Traddr, t.Trsvcid), SubsystemNQN: t.Subnqn,
				HostNQN: ctrlr.Host.NQN, SourceTraddr: ctrlr.Host.Addr, SourceTrsvcid: ctrlr.Host.Svcid, State: state,
			}
		}
		all = append(all, path(ctrlr.Trid, ctrlr.State))
		for _, t := range ctrlr.AlternateTrids {
			all = append(all, path(t, "alternate"))
		}
		if len(ctrlr.AlternateTrids) > 0 {
			for _, p := range all {
				p.Multipath = driver.MultipathFailover
			}
		}
	}
	return all
}

// subsystemObjects returns a subsystem and what is in it. The discovery subsystem is SPDK's own and
// gives nothing.
func (d *Driver) subsystemObjects(s *spdkrpc.NvmfSubsystem) []driver.Object {
	if s.Subtype == "Discovery" || s.NQN == spdkrpc.DiscoveryNQN {
		return nil
	}
	all := make([]driver.Object, 0, 1+len(s.Hosts)+len(s.ListenAddresses)+len(s.Namespaces))
	subsystem := &driver.Subsystem{
		NQN: s.NQN, SerialNumber: s.SerialNumber, ModelNumber: s.ModelNumber, MaxNamespaces: s.MaxNamespaces,
		AllowAnyHost: s.AllowAnyHost, MinCntlid: s.MinCntlid, MaxCntlid: s.MaxCntlid,
	}
	all = append(all, subsystem)
	for _, h := range s.Hosts {
		all = append(all, &driver.Host{Subsystem: s.NQN, NQN: h.NQN})
	}
	for _, l := range s.ListenAddresses {
		a, pci := d.listenerAddress(l)
		all = append(all, &driver.Listener{Subsystem: s.NQN, Address: a, PCI: pci})
	}
	for _, n := range s.Namespaces {
		subsystem.ANAReporting = subsystem.ANAReporting || n.ANAGRPID > 0
		all = append(all, &driver.Namespace{
			Subsystem: s.NQN, NSID: n.NSID, Bdev: n.BdevName,
			UUID: strings.ToLower(n.UUID), NGUID: strings.ToLower(n.NGUID), EUI64: strings.ToLower(n.EUI64),
		})
	}
	return all
}

// find returns the object with that key among all, or nil.
func find(all []driver.Object, key driver.Key) driver.Object {
	for _, o := range all {
		if o.Key() == key {
			return o
		}
	}
	return nil
}
