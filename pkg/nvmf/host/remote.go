// SPDX-License-Identifier: Apache-2.0

package host

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// RemoteInfo is what the subsystem behind a controller has said about itself.
type RemoteInfo struct {
	// Subnqn, SerialNumber, ModelNumber and Firmware are the subsystem's.
	Subnqn, SerialNumber, ModelNumber, Firmware string
	// CNTLID is the controller's identifier there.
	CNTLID uint16
	// Namespaces are those with a bdev, by identifier.
	Namespaces []NamespaceInfo
}

// NamespaceInfo is a namespace as it was when it was first seen, but for its size.
type NamespaceInfo struct {
	NSID uint32
	// Bdev is the name of its bdev.
	Bdev string
	// UUID, NGUID and EUI64 are as the controller told them, all zero where it did not.
	UUID, NGUID uuid.UUID
	EUI64       [8]byte
	// Geometry is the shape now.
	Geometry bdev.Geometry
}

// Remote returns what is known of the subsystem behind a controller, by its first path. An unknown
// controller is NotFound (ENODEV).
func (h *Host) Remote(name string) (RemoteInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.find(name)
	if c == nil || len(c.paths) == 0 {
		return RemoteInfo{}, noController(name)
	}
	p := c.paths[0]
	p.mu.Lock()
	info := RemoteInfo{
		Subnqn: p.set.trid.Subnqn, SerialNumber: p.ident.SN, ModelNumber: p.ident.MN, Firmware: p.ident.FR, CNTLID: p.cntlid,
	}
	p.mu.Unlock()
	for _, nsid := range slices.Sorted(maps.Keys(c.devices)) {
		d := c.devices[nsid]
		info.Namespaces = append(info.Namespaces, NamespaceInfo{
			NSID: nsid, Bdev: d.name, UUID: d.identity.uuid, NGUID: d.identity.nguid, EUI64: d.identity.eui64,
			Geometry: d.Geometry(),
		})
	}
	return info, nil
}
