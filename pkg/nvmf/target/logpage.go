// SPDX-License-Identifier: Apache-2.0

package target

import (
	"encoding/binary"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// logPage carries out Get Log Page (base 5.16).
func (c *controller) logPage(e nvme.SQE, page []byte) nvme.Status {
	r := e.LogRequest()
	if r.Offset%4 != 0 || r.Length > uint64(len(page)) {
		return nvme.StatusInvalidField | nvme.DNR
	}
	if nsid := e.NSID(); r.LID != nvme.LogHealth && nsid != 0 && nsid != nvme.NSIDBroadcast {
		return nvme.StatusInvalidField | nvme.DNR
	}
	log, status := c.log(r)
	if status != nvme.Success {
		return status
	}
	if r.Offset >= uint64(len(log)) {
		return nvme.StatusInvalidField | nvme.DNR
	}
	copy(page[:r.Length], log[r.Offset:])
	return nvme.Success
}

// log returns a whole log page.
func (c *controller) log(r nvme.LogRequest) ([]byte, nvme.Status) {
	if c.subsystem.discovery {
		switch r.LID {
		case nvme.LogDiscovery:
			log := c.discoveryLog()
			if !r.RAE {
				c.unmask(nvme.EventDiscoveryChanged)
			}
			return log, nvme.Success
		case nvme.LogSupported:
			return supported(nvme.LogSupported, nvme.LogDiscovery), nvme.Success
		default:
			return nil, nvme.StatusInvalidLogPage | nvme.DNR
		}
	}
	switch r.LID {
	case nvme.LogSupported:
		return supported(c.logs()...), nvme.Success
	case nvme.LogError:
		return make([]byte, 128*nvme.LogErrorEntrySize), nvme.Success
	case nvme.LogHealth:
		return make([]byte, nvme.LogHealthSize), nvme.Success // a target in memory has nothing to report; SPDK does the same
	case nvme.LogFirmware:
		page := make([]byte, nvme.LogFirmwareSize)
		(&nvme.Firmware{AFI: 1, FRS1: c.target.firmware}).Encode(page)
		return page, nvme.Success
	case nvme.LogChangedNS:
		log := c.changedNamespaces()
		if !r.RAE {
			c.unmask(nvme.EventNamespaceChanged)
		}
		return log, nvme.Success
	case nvme.LogEffects:
		return effects(), nvme.Success
	case nvme.LogANA:
		if !c.subsystem.anaReporting {
			return nil, nvme.StatusInvalidLogPage | nvme.DNR
		}
		log := c.anaLog(r.LSP&1 != 0)
		if !r.RAE {
			c.unmask(nvme.EventANAChanged)
		}
		return log, nvme.Success
	default:
		return nil, nvme.StatusInvalidLogPage | nvme.DNR
	}
}

// logs lists the log pages of an I/O controller.
func (c *controller) logs() []uint8 {
	ids := []uint8{nvme.LogSupported, nvme.LogError, nvme.LogHealth, nvme.LogFirmware, nvme.LogChangedNS, nvme.LogEffects}
	if c.subsystem.anaReporting {
		ids = append(ids, nvme.LogANA)
	}
	return ids
}

// supported returns log page LogSupported (base 5.16.1.1).
func supported(ids ...uint8) []byte {
	page := make([]byte, nvme.LogSupportedSize)
	for _, id := range ids {
		binary.LittleEndian.PutUint32(page[4*int(id):], 1)
	}
	return page
}

// effects returns log page LogEffects (base 5.16.1.6).
func effects() []byte {
	page := nvme.Effects(make([]byte, nvme.LogEffectsSize))
	for _, opc := range []uint8{nvme.AdminGetLogPage, nvme.AdminIdentify, nvme.AdminSetFeatures, nvme.AdminGetFeatures} {
		page.SetAdmin(opc, nvme.EffectSupported|nvme.EffectScopeNamespace|nvme.EffectScopeCtrl)
	}
	for _, opc := range []uint8{nvme.AdminAbort, nvme.AdminAsyncEventReq, nvme.AdminKeepAlive} {
		page.SetAdmin(opc, nvme.EffectSupported|nvme.EffectScopeCtrl)
	}
	for _, opc := range []uint8{nvme.IOFlush, nvme.IOWrite, nvme.IOWriteZeroes, nvme.IODSM, nvme.IOCopy} {
		page.SetIO(opc, nvme.EffectSupported|nvme.EffectContentChange|nvme.EffectScopeNamespace)
	}
	for _, opc := range []uint8{nvme.IORead, nvme.IOCompare} {
		page.SetIO(opc, nvme.EffectSupported|nvme.EffectScopeNamespace)
	}
	return page
}
