// SPDX-License-Identifier: Apache-2.0

package target

import (
	"math/bits"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Identity that controllers show, as SPDK's do.
const (
	vendorID = 0x8086
	anaTime  = 10 // seconds
)

// identify carries out Identify (base 5.17).
func (c *controller) identify(e nvme.SQE, page []byte) nvme.Status {
	if len(page) < nvme.IdentifySize {
		return nvme.StatusInvalidField | nvme.DNR
	}
	cns, csi := uint8(e.CDW(10)&0xFF), uint8(e.CDW(11)>>24)
	if cns == nvme.CNSController {
		d := c.identifyController()
		d.Encode(page)
		return nvme.Success
	}
	if c.subsystem.discovery {
		return nvme.StatusInvalidField | nvme.DNR
	}
	switch cns {
	case nvme.CNSActiveNamespaces:
		return c.identifyList(e.NSID(), page)
	case nvme.CNSActiveNamespacesCSI:
		if csi != nvme.CSINVM {
			return nvme.StatusInvalidField | nvme.DNR
		}
		return c.identifyList(e.NSID(), page)
	case nvme.CNSControllerCSI:
		if csi == nvme.CSINVM {
			c.identifyNVM(page)
		}
		return nvme.Success
	case nvme.CNSCommandSets:
		if id := e.CDW(10) >> 16; id != 0xFFFF && id != uint32(c.cntlid) {
			return nvme.StatusInvalidField | nvme.DNR
		}
		page[0] = 1 // the first combination is the NVM command set
		return nvme.Success
	case nvme.CNSNamespace, nvme.CNSDescriptors, nvme.CNSNamespaceCSI, nvme.CNSNamespaceIndependent:
		return c.identifyNamespace(cns, e.NSID(), page)
	default:
		return nvme.StatusInvalidField | nvme.DNR
	}
}

func (c *controller) identifyController() nvme.IdentifyController {
	s := c.subsystem
	d := nvme.IdentifyController{
		FR: c.target.firmware, VER: nvme.VS200, CNTLID: c.cntlid, SUBNQN: s.cfg.NQN,
		MDTS:      uint8(bits.TrailingZeros32(c.opts.MaxIOSizeBytes >> 12)), //nolint:gosec // at most 10
		CNTRLTYPE: nvme.ControllerDiscovery,
		OAES:      nvme.OAESDiscoveryLog,
		AERL:      maxAsyncEvents - 1, ELPE: 127, LPA: nvme.LPAExtended,
		WCTEMP: 0x157, CCTEMP: 0x175,
		MAXCMD: c.opts.MaxQueueDepth,
		SGLS:   nvme.SGLSSupported | nvme.SGLSOffset | nvme.SGLSTransport,
	}
	if s.discovery {
		return d
	}
	d.VID, d.SSVID, d.IEEE = vendorID, vendorID, [3]byte{0xE4, 0xD2, 0x5C}
	d.SN, d.MN = s.cfg.SerialNumber, s.cfg.ModelNumber
	d.KAS = c.opts.KAS
	d.RAB = 6
	d.CMIC = nvme.CMICMultiPort | nvme.CMICMultiController
	d.OAES, d.CTRATT, d.CNTRLTYPE = nvme.OAESNamespace, nvme.CTRATTHostID128, nvme.ControllerIO
	d.ACL = abortLimit
	d.FRMW = nvme.FRMWSlot1ReadOnly | nvme.FRMWOneSlot
	d.LPA |= nvme.LPAEffects
	d.SQES, d.CQES = 0x66, 0x44
	d.NN = s.cfg.MaxNamespaces
	d.ONCS = nvme.ONCSCompare | nvme.ONCSDSM | nvme.ONCSWriteZeroes | nvme.ONCSCopy
	d.OCFS = nvme.OCFSCopyFormat0
	d.FUSES = nvme.FUSESCompareWrite
	d.VWC = nvme.VWCFlushNoBroadcast
	d.IOCCSZ = (nvme.SQESize + c.opts.InCapsuleDataSizeBytes) / 16
	d.IORCSZ = nvme.CQESize / 16
	d.MSDBD = 1
	c.target.mu.RLock()
	if s.writeCache {
		d.VWC |= nvme.VWCPresent
	}
	c.target.mu.RUnlock()
	if s.anaReporting {
		d.CMIC |= nvme.CMICANAReporting
		d.OAES |= nvme.OAESANAChange
		d.ANATT = anaTime
		d.ANACAP = nvme.ANACAPOptimized | nvme.ANACAPNonOptimized | nvme.ANACAPInaccessible | nvme.ANACAPGroupStatic
		d.ANAGRPMAX, d.NANAGRPID, d.MNAN = s.cfg.MaxNamespaces, s.cfg.MaxNamespaces, s.cfg.MaxNamespaces
	}
	return d
}

func (c *controller) identifyNVM(page []byte) {
	d := nvme.IdentifyControllerNVM{WZSL: c.subsystem.cfg.WZSL, DMRSL: c.subsystem.cfg.DMRSL}
	if d.DMRSL > 0 {
		d.DMRL, d.DMSL = 1, uint64(d.DMRSL)
	}
	d.Encode(page)
}

func (c *controller) identifyList(after uint32, page []byte) nvme.Status {
	if after >= nvme.NSIDBroadcast-1 {
		return nvme.StatusInvalidNamespace | nvme.DNR
	}
	c.target.mu.RLock()
	ids := c.subsystem.nsids()
	c.target.mu.RUnlock()
	first, _ := slices.BinarySearch(ids, after+1)
	nvme.EncodeNamespaceList(page, ids[first:])
	return nvme.Success
}

// identifyNamespace answers what is about one namespace. One that is not active is all zero, except
// for descriptors.
func (c *controller) identifyNamespace(cns uint8, nsid uint32, page []byte) nvme.Status {
	if nsid == 0 || nsid > c.subsystem.cfg.MaxNamespaces {
		return nvme.StatusInvalidNamespace | nvme.DNR
	}
	ns := c.subsystem.namespace(nsid)
	if ns == nil {
		if cns == nvme.CNSDescriptors || cns == nvme.CNSNamespaceCSI {
			return nvme.StatusInvalidField | nvme.DNR
		}
		return nvme.Success
	}
	switch cns {
	case nvme.CNSNamespace:
		// The device may be closed once the namespace is removed, so it is held meanwhile.
		a := ns.attach(nil)
		if a == nil || !a.enter() {
			return nvme.Success
		}
		d := ns.identify(c.opts.MaxIOSizeBytes, c.subsystem.anaReporting)
		a.leave()
		a.detach()
		d.Encode(page)
	case nvme.CNSDescriptors:
		d := nvme.Descriptors{EUI64: ns.cfg.EUI64, NGUID: ns.cfg.NGUID, UUID: ns.cfg.UUID, CSI: nvme.CSINVM}
		d.Encode(page)
	case nvme.CNSNamespaceIndependent:
		d := nvme.IdentifyNamespaceIndependent{NMIC: nvme.NMICShared, ANAGRPID: ns.cfg.ANAGRPID, NSTAT: 1}
		d.Encode(page)
	}
	return nvme.Success // CNSNamespaceCSI: all zero, there is no protection information
}

// namespace returns an active namespace, or nil. It needs no lock.
func (s *subsystem) namespace(nsid uint32) *namespace {
	table := *s.table.Load()
	if nsid-1 >= uint32(len(table)) { //nolint:gosec // bounded by MaxNamespaces; 0 wraps on purpose
		return nil
	}
	return table[nsid-1]
}
