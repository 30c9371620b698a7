// SPDX-License-Identifier: Apache-2.0

package nvme

// IdentifySize is the size of every identify data structure in bytes (base 5.17).
const IdentifySize = 4096

// CNS values of Identify (base figure 273).
const (
	CNSNamespace            uint8 = 0x00
	CNSController           uint8 = 0x01
	CNSActiveNamespaces     uint8 = 0x02
	CNSDescriptors          uint8 = 0x03
	CNSNamespaceCSI         uint8 = 0x05
	CNSControllerCSI        uint8 = 0x06
	CNSActiveNamespacesCSI  uint8 = 0x07
	CNSNamespaceIndependent uint8 = 0x08
	CNSAllocatedNamespaces  uint8 = 0x10
	CNSCommandSets          uint8 = 0x1C
)

// CSINVM is the identifier of the NVM command set (base figure 274).
const CSINVM uint8 = 0

// Controller types of CNTRLTYPE (base figure 275).
const (
	ControllerIO        uint8 = 1
	ControllerDiscovery uint8 = 2
)

// Bits of fields of IdentifyController (base figure 275).
const (
	CMICMultiPort       uint8  = 1 << 0
	CMICMultiController uint8  = 1 << 1
	CMICANAReporting    uint8  = 1 << 3
	OAESNamespace       uint32 = 1 << 8
	OAESANAChange       uint32 = 1 << 11
	OAESDiscoveryLog    uint32 = 1 << 31
	CTRATTHostID128     uint32 = 1 << 0
	FRMWSlot1ReadOnly   uint8  = 1 << 0
	FRMWOneSlot         uint8  = 1 << 1
	LPAEffects          uint8  = 1 << 1
	LPAExtended         uint8  = 1 << 2
	LPAMetadata         uint8  = 1 << 5
	ONCSCompare         uint16 = 1 << 0
	ONCSDSM             uint16 = 1 << 2
	ONCSWriteZeroes     uint16 = 1 << 3
	ONCSCopy            uint16 = 1 << 8
	OCFSCopyFormat0     uint16 = 1 << 0
	FUSESCompareWrite   uint16 = 1 << 0
	VWCPresent          uint8  = 1 << 0
	VWCFlushNoBroadcast uint8  = 2 << 1
	SGLSSupported       uint32 = 1 << 0
	SGLSOffset          uint32 = 1 << 20
	SGLSTransport       uint32 = 1 << 21
)

// IdentifyController is the identify controller data structure (base 5.17.2.1): the fields that a
// controller over fabrics has.
type IdentifyController struct {
	VID, SSVID uint16
	// SN, MN and FR are at most 20, 40 and 8 bytes of ASCII.
	SN, MN, FR string
	RAB        uint8
	IEEE       [3]byte
	CMIC       uint8
	// MDTS is the maximum data transfer as a power of two of pages of 4 KiB, 0 is no limit.
	MDTS      uint8
	CNTLID    uint16
	VER       uint32
	OAES      uint32
	CTRATT    uint32
	CNTRLTYPE uint8
	OACS      uint16
	// ACL, AERL and ELPE count from 0.
	ACL, AERL uint8
	FRMW, LPA uint8
	ELPE      uint8
	// WCTEMP and CCTEMP are in kelvin.
	WCTEMP, CCTEMP uint16
	// KAS is the granularity of the keep alive timer in units of 100 ms, 0 is no keep alive.
	KAS uint16
	// ANATT is in seconds.
	ANATT, ANACAP        uint8
	ANAGRPMAX, NANAGRPID uint32
	// SQES and CQES are two powers of two each, required in bits 3:0 and maximum in 7:4.
	SQES, CQES uint8
	MAXCMD     uint16
	// NN is the highest namespace identifier.
	NN    uint32
	ONCS  uint16
	FUSES uint16
	VWC   uint8
	OCFS  uint16
	SGLS  uint32
	MNAN  uint32
	// SUBNQN is at most NQNMax bytes.
	SUBNQN string
	// IOCCSZ and IORCSZ are the sizes of the I/O capsules in units of 16 bytes.
	IOCCSZ, IORCSZ uint32
	// ICDOFF is in units of 16 bytes; 0 for NVMe/TCP.
	ICDOFF       uint16
	FCATT, MSDBD uint8
}

func (d *IdentifyController) visit(c *codec) {
	c.u16(0, &d.VID)
	c.u16(2, &d.SSVID)
	c.str(4, 20, ' ', &d.SN)
	c.str(24, 40, ' ', &d.MN)
	c.str(64, 8, ' ', &d.FR)
	c.u8(72, &d.RAB)
	c.bytes(73, d.IEEE[:])
	c.u8(76, &d.CMIC)
	c.u8(77, &d.MDTS)
	c.u16(78, &d.CNTLID)
	c.u32(80, &d.VER)
	c.u32(92, &d.OAES)
	c.u32(96, &d.CTRATT)
	c.u8(111, &d.CNTRLTYPE)
	c.u16(256, &d.OACS)
	c.u8(258, &d.ACL)
	c.u8(259, &d.AERL)
	c.u8(260, &d.FRMW)
	c.u8(261, &d.LPA)
	c.u8(262, &d.ELPE)
	c.u16(266, &d.WCTEMP)
	c.u16(268, &d.CCTEMP)
	c.u16(320, &d.KAS)
	c.u8(342, &d.ANATT)
	c.u8(343, &d.ANACAP)
	c.u32(344, &d.ANAGRPMAX)
	c.u32(348, &d.NANAGRPID)
	c.u8(512, &d.SQES)
	c.u8(513, &d.CQES)
	c.u16(514, &d.MAXCMD)
	c.u32(516, &d.NN)
	c.u16(520, &d.ONCS)
	c.u16(522, &d.FUSES)
	c.u8(525, &d.VWC)
	c.u16(534, &d.OCFS)
	c.u32(536, &d.SGLS)
	c.u32(540, &d.MNAN)
	c.str(768, nqnField, 0, &d.SUBNQN)
	c.u32(1792, &d.IOCCSZ)
	c.u32(1796, &d.IORCSZ)
	c.u16(1800, &d.ICDOFF)
	c.u8(1802, &d.FCATT)
	c.u8(1803, &d.MSDBD)
}

// Encode writes d to b, which must hold IdentifySize bytes.
func (d *IdentifyController) Encode(b []byte) { encode(d, b, IdentifySize) }

// DecodeIdentifyController reads what Identify with CNSController returned.
func DecodeIdentifyController(b []byte) (IdentifyController, error) {
	var d IdentifyController
	return d, decode(&d, b, IdentifySize, "identify controller data")
}
