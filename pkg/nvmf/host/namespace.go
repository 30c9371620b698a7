// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"crypto/sha1" //nolint:gosec // version 5 UUIDs are defined by it
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// identity is by what a namespace is known to be the same over two paths.
type identity struct {
	nguid, uuid [16]byte
	eui64       [8]byte
	csi         uint8
}

// bdevUUID is SPDK's rule: the NGUID, else the UUID, else none.
func (i *identity) bdevUUID() uuid.UUID {
	if i.nguid != [16]byte{} {
		return i.nguid
	}
	return i.uuid
}

// generatedUUID derives an identifier from serial number and nsid, as SPDK's generate_uuids does.
func generatedUUID(serial string, nsid uint32) uuid.UUID {
	space := uuid.UUID{0xed, 0xae, 0xd2, 0xde, 0x24, 0xbc, 0x4b, 0x07, 0xb5, 0x59, 0xf4, 0x7e, 0xcb, 0xe7, 0x30, 0xfd}
	return uuid.NewHash(sha1.New(), space, fmt.Appendf(nil, "%-20s%d", serial, nsid), 5) //nolint:gosec // as above
}

// nsInfo is what a controller says about a namespace.
type nsInfo struct {
	nsid     uint32
	identity identity
	geometry bdev.Geometry
	metadata bdev.Metadata
	hints    bdev.Hints
	shared   bool
	group    uint32
}

// active lists the identifiers of the namespaces that are there, ascending.
func (a *association) active(ctx context.Context) ([]uint32, error) {
	data := make([]byte, nvme.IdentifySize)
	var all []uint32
	for after := uint32(0); ; {
		if err := a.identifyData(ctx, data, nvme.CNSActiveNamespaces, after, 0); err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		page, err := nvme.DecodeNamespaceList(data)
		if err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		for _, nsid := range page {
			if nsid <= after {
				return nil, fmt.Errorf("list namespaces: %d does not ascend", nsid)
			}
			after = nsid
		}
		all = append(all, page...)
		if len(all) > namespaceMax {
			return nil, fmt.Errorf("list namespaces: more than %d", namespaceMax)
		}
		if len(page) < nvme.NamespaceListMax {
			return all, nil
		}
	}
}

// namespace reads what one namespace is. A namespace that is not there any more has no blocks.
func (a *association) namespace(ctx context.Context, nsid uint32) (*nsInfo, error) {
	data := make([]byte, nvme.IdentifySize)
	if err := a.identifyData(ctx, data, nvme.CNSNamespace, nsid, 0); err != nil {
		return nil, fmt.Errorf("identify namespace %d: %w", nsid, err)
	}
	ns, err := nvme.DecodeIdentifyNamespace(data)
	if err != nil {
		return nil, fmt.Errorf("identify namespace %d: %w", nsid, err)
	}
	info := &nsInfo{nsid: nsid, shared: ns.NMIC&nvme.NMICShared != 0, group: ns.ANAGRPID}
	if ns.NSZE == 0 {
		return info, nil
	}
	format := ns.Format()
	if format.LBADS < 9 || format.LBADS > 16 || ns.NSZE > 1<<62>>format.LBADS {
		return nil, fmt.Errorf("namespace %d: %d blocks of 2^%d bytes are not usable", nsid, ns.NSZE, format.LBADS)
	}
	block := uint32(1) << format.LBADS
	if format.MS > 0 {
		if ns.FLBAS&nvme.FLBASExtended == 0 {
			return nil, fmt.Errorf("namespace %d: separate metadata cannot be moved over TCP", nsid)
		}
		block += uint32(format.MS)
		info.metadata = bdev.Metadata{SizeBytes: uint32(format.MS), Interleaved: true}
	}
	info.geometry = bdev.Geometry{BlockSizeBytes: block, Blocks: ns.NSZE}
	if ns.NSFEAT&nvme.NSFEATOptimal != 0 {
		info.hints = bdev.Hints{
			PreferredWriteGranularity: uint32(ns.NPWG) + 1, PreferredWriteAlignment: uint32(ns.NPWA) + 1,
			OptimalWriteSize:          uint32(ns.NOWS) + 1,
			PreferredUnmapGranularity: uint32(ns.NPDG) + 1, PreferredUnmapAlignment: uint32(ns.NPDA) + 1,
		}
	}
	info.identity.nguid, info.identity.eui64 = ns.NGUID, ns.EUI64
	if err := a.identifyData(ctx, data, nvme.CNSDescriptors, nsid, 0); err != nil {
		return nil, fmt.Errorf("identify namespace %d: descriptors: %w", nsid, err)
	}
	desc, err := nvme.DecodeDescriptors(data)
	if err != nil {
		return nil, fmt.Errorf("identify namespace %d: %w", nsid, err)
	}
	info.identity.uuid, info.identity.csi = desc.UUID, desc.CSI
	return info, nil
}

// changed reads which namespaces have changed since the last time; nil stands for all.
func (a *association) changed(ctx context.Context) ([]uint32, error) {
	data := make([]byte, nvme.IdentifySize)
	if err := a.log(ctx, nvme.LogChangedNS, data); err != nil {
		return nil, err
	}
	list, err := nvme.DecodeNamespaceList(data)
	if err != nil {
		return nil, fmt.Errorf("changed namespaces: %w", err)
	}
	if len(list) > 0 && list[0] == nvme.NSIDBroadcast {
		return nil, nil
	}
	return append([]uint32{}, list...), nil
}

// log reads the beginning of a log page.
func (a *association) log(ctx context.Context, lid uint8, data []byte) error {
	_, err := a.do(ctx, data, func(e nvme.SQE) {
		e.SetLogRequest(nvme.LogRequest{LID: lid, Length: uint64(len(data))})
		e.SetOPC(nvme.AdminGetLogPage)
		e.SetNSID(nvme.NSIDBroadcast)
	})
	if err != nil {
		return fmt.Errorf("log page %#02x: %w", lid, err)
	}
	return nil
}

// anaStates reads the state of each ANA group; nil if the controller does not report any.
func (a *association) anaStates(ctx context.Context) (map[uint32]nvme.ANAState, error) {
	if a.ident.CMIC&nvme.CMICANAReporting == 0 {
		return nil, nil //nolint:nilnil // "none" is an answer
	}
	// Header, a descriptor for each group, and the namespaces: as large as the controller says, but
	// not without bound.
	groups := min(max(a.ident.NANAGRPID, 1), namespaceMax)
	size := 16 + int(groups)*32 + int(min(max(a.ident.MNAN, a.ident.NN), namespaceMax))*4
	data := make([]byte, (size+3)&^3)
	if err := a.log(ctx, nvme.LogANA, data); err != nil {
		return nil, err
	}
	_, list, err := nvme.DecodeANA(data)
	if err != nil {
		return nil, fmt.Errorf("ANA log: %w", err)
	}
	states := make(map[uint32]nvme.ANAState, len(list))
	for _, g := range list {
		states[g.ANAGRPID] = g.State
	}
	return states, nil
}

// namespaces reads all namespaces that are there and usable, by ascending identifier.
func (a *association) namespaces(ctx context.Context) ([]*nsInfo, error) {
	list, err := a.active(ctx)
	if err != nil {
		return nil, err
	}
	infos := make(map[uint32]*nsInfo, len(list))
	for _, nsid := range list {
		info, err := a.namespace(ctx, nsid)
		if err != nil {
			if a.over.Load() {
				return nil, err
			}
			a.set.log.Warn("namespace left out", "nsid", nsid, "err", err)
			continue
		}
		if info.geometry.Blocks > 0 {
			infos[nsid] = info
		}
	}
	sorted := make([]*nsInfo, 0, len(infos))
	for _, nsid := range slices.Sorted(maps.Keys(infos)) {
		sorted = append(sorted, infos[nsid])
	}
	return sorted, nil
}
