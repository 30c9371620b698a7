// SPDX-License-Identifier: Apache-2.0

package nvme

// NSIDBroadcast is the namespace identifier that means all namespaces (base 3.2.1.2).
const NSIDBroadcast uint32 = 0xFFFFFFFF

// Bits of fields of IdentifyNamespace (nvm figure 97).
const (
	NSFEATAtomic    uint8 = 1 << 1
	NSFEATOptimal   uint8 = 1 << 4
	NMICShared      uint8 = 1 << 0
	FLBASExtended   uint8 = 1 << 4
	MCExtended      uint8 = 1 << 0
	DLFEATReadsZero uint8 = 1
	DLFEATDEAC      uint8 = 1 << 3
)

// LBAFormat is one LBA format (nvm figure 98).
type LBAFormat struct {
	// MS is the metadata per block in bytes.
	MS uint16
	// LBADS is the block size as a power of two, 9 or more; 0 for a format that does not exist.
	LBADS uint8
}

// IdentifyNamespace is the identify namespace data structure of the NVM command set (nvm 4.1.5.1).
// All zero means that the namespace is not active.
type IdentifyNamespace struct {
	// NSZE, NCAP and NUSE are in blocks.
	NSZE, NCAP, NUSE uint64
	NSFEAT           uint8
	// FLBAS is the format in use and whether its metadata follows the data of each block, MC the ways
	// of moving metadata that there are.
	FLBAS, MC     uint8
	NMIC, DLFEAT  uint8
	NAWUN, NAWUPF uint16
	NACWU         uint16
	NOIOB         uint16
	NPWG, NPWA    uint16
	NPDG, NPDA    uint16
	NOWS          uint16
	MSSRL         uint16
	MCL           uint32
	ANAGRPID      uint32
	NGUID         [16]byte
	EUI64         [8]byte
	// NLBAF is the number of formats, counted from 0.
	NLBAF uint8
	LBAF  [16]LBAFormat
}

func (d *IdentifyNamespace) visit(c *codec) {
	c.u64(0, &d.NSZE)
	c.u64(8, &d.NCAP)
	c.u64(16, &d.NUSE)
	c.u8(24, &d.NSFEAT)
	c.u8(25, &d.NLBAF)
	c.u8(26, &d.FLBAS)
	c.u8(27, &d.MC)
	c.u8(30, &d.NMIC)
	c.u8(33, &d.DLFEAT)
	c.u16(34, &d.NAWUN)
	c.u16(36, &d.NAWUPF)
	c.u16(38, &d.NACWU)
	c.u16(46, &d.NOIOB)
	c.u16(64, &d.NPWG)
	c.u16(66, &d.NPWA)
	c.u16(68, &d.NPDG)
	c.u16(70, &d.NPDA)
	c.u16(72, &d.NOWS)
	c.u16(74, &d.MSSRL)
	c.u32(76, &d.MCL)
	c.u32(92, &d.ANAGRPID)
	c.bytes(104, d.NGUID[:])
	c.bytes(120, d.EUI64[:])
	for i := range d.LBAF {
		c.u16(128+4*i, &d.LBAF[i].MS)
		c.u8(130+4*i, &d.LBAF[i].LBADS)
	}
}

// Encode writes d to b, which must hold IdentifySize bytes.
func (d *IdentifyNamespace) Encode(b []byte) { encode(d, b, IdentifySize) }

// DecodeIdentifyNamespace reads what Identify with CNSNamespace returned.
func DecodeIdentifyNamespace(b []byte) (IdentifyNamespace, error) {
	var d IdentifyNamespace
	return d, decode(&d, b, IdentifySize, "identify namespace data")
}

// Format returns the LBA format in use. A format number beyond the table is all zero.
func (d *IdentifyNamespace) Format() LBAFormat { return d.LBAF[d.FLBAS&0xF] }

// IdentifyNamespaceIndependent is the command set independent data structure (base 5.17.2.8).
type IdentifyNamespaceIndependent struct {
	NMIC     uint8
	ANAGRPID uint32
	// NSTAT bit 0 says that the namespace is ready.
	NSTAT uint8
}

func (d *IdentifyNamespaceIndependent) visit(c *codec) {
	c.u8(1, &d.NMIC)
	c.u32(8, &d.ANAGRPID)
	c.u8(14, &d.NSTAT)
}

// Encode writes d to b, which must hold IdentifySize bytes.
func (d *IdentifyNamespaceIndependent) Encode(b []byte) { encode(d, b, IdentifySize) }

// DecodeIdentifyNamespaceIndependent reads what Identify with CNSNamespaceIndependent returned.
func DecodeIdentifyNamespaceIndependent(b []byte) (IdentifyNamespaceIndependent, error) {
	var d IdentifyNamespaceIndependent
	return d, decode(&d, b, IdentifySize, "independent identify namespace data")
}

// IdentifyControllerNVM is the identify controller data of the NVM command set (nvm 4.1.5.4).
type IdentifyControllerNVM struct {
	// VSL, WZSL and WUSL are limits as powers of two of pages of 4 KiB, 0 is none.
	VSL, WZSL, WUSL uint8
	// DMRL is the number of ranges of one Dataset Management, DMRSL the blocks of one range,
	// DMSL the blocks of one command; 0 is no limit.
	DMRL  uint8
	DMRSL uint32
	DMSL  uint64
}

func (d *IdentifyControllerNVM) visit(c *codec) {
	c.u8(0, &d.VSL)
	c.u8(1, &d.WZSL)
	c.u8(2, &d.WUSL)
	c.u8(3, &d.DMRL)
	c.u32(4, &d.DMRSL)
	c.u64(8, &d.DMSL)
}

// Encode writes d to b, which must hold IdentifySize bytes.
func (d *IdentifyControllerNVM) Encode(b []byte) { encode(d, b, IdentifySize) }

// DecodeIdentifyControllerNVM reads what Identify with CNSControllerCSI and CSINVM returned.
func DecodeIdentifyControllerNVM(b []byte) (IdentifyControllerNVM, error) {
	var d IdentifyControllerNVM
	return d, decode(&d, b, IdentifySize, "NVM identify controller data")
}
