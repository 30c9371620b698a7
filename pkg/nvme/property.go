// SPDX-License-Identifier: Apache-2.0

package nvme

// Offsets of the controller properties (base 3.1.3).
const (
	PropertyCAP  uint32 = 0x00
	PropertyVS   uint32 = 0x08
	PropertyCC   uint32 = 0x14
	PropertyCSTS uint32 = 0x1C
	PropertyNSSR uint32 = 0x20
	PropertyAQA  uint32 = 0x24
	PropertyASQ  uint32 = 0x28
	PropertyACQ  uint32 = 0x30
	PropertyCRTO uint32 = 0x68
)

// CAP are the controller capabilities (base 3.1.3.1).
type CAP uint64

// Bits of CAP that are set as a whole.
const (
	// CAPCQR: queues are physically contiguous; fabrics require it.
	CAPCQR CAP = 1 << 16
	// CAPCSSNVM: the NVM command set is supported.
	CAPCSSNVM CAP = 1 << 37
	// CAPCRWMS: controller ready with media is supported.
	CAPCRWMS CAP = 1 << 59
)

// MakeCAP returns CAP with a maximum queue size of mqes entries, counted from 0, a ready timeout
// of to units of 500 ms, and bits.
func MakeCAP(mqes uint16, to uint8, bits CAP) CAP { return CAP(mqes) | CAP(to)<<24 | bits }

// MQES is the maximum number of queue entries, counted from 0.
func (c CAP) MQES() uint16 { return uint16(c & 0xFFFF) }

// TO is the time to become ready in units of 500 ms.
func (c CAP) TO() uint8 { return uint8(c >> 24 & 0xFF) }

// VS200 is the value of property VS for version 2.0.0 (base 3.1.3.2).
const VS200 uint32 = 2 << 16

// CC is the controller configuration (base 3.1.3.5).
type CC uint32

// Values of SHN.
const (
	SHNNone   = 0
	SHNNormal = 1
	SHNAbrupt = 2
)

// MakeCC returns the configuration with which a host enables an NVM controller.
func MakeCC() CC { return 1 | 6<<16 | 4<<20 }

// EN is enable.
func (c CC) EN() bool { return c&1 != 0 }

// CSS is the I/O command set selected.
func (c CC) CSS() uint8 { return uint8(c >> 4 & 7) }

// MPS is the memory page size, 2 to the power of 12+MPS.
func (c CC) MPS() uint8 { return uint8(c >> 7 & 15) }

// AMS is the arbitration mechanism selected.
func (c CC) AMS() uint8 { return uint8(c >> 11 & 7) }

// SHN is the shutdown notification.
func (c CC) SHN() uint8 { return uint8(c >> 14 & 3) }

// WithSHN returns c with a shutdown notification.
func (c CC) WithSHN(shn uint8) CC { return c&^(3<<14) | CC(shn&3)<<14 }

// IOSQES is the size of submission queue entries as a power of two.
func (c CC) IOSQES() uint8 { return uint8(c >> 16 & 15) }

// IOCQES is the size of completion queue entries as a power of two.
func (c CC) IOCQES() uint8 { return uint8(c >> 20 & 15) }

// Bits of CSTS, the controller status (base 3.1.3.6).
const (
	CSTSRDY          uint32 = 1 << 0
	CSTSCFS          uint32 = 1 << 1
	CSTSShutdownBusy uint32 = 1 << 2
	CSTSShutdownDone uint32 = 2 << 2
	CSTSShutdownMask uint32 = 3 << 2
)
