// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// SQESize is the size of a submission queue entry in bytes (base 3.3.3.1).
const SQESize = 64

// SQE is a submission queue entry (base 3.3.3.1), SQESize bytes long. Fabrics commands use the
// same 64 bytes with their own fields; see the Connect and Property methods.
type SQE []byte

// OPC is the opcode.
func (e SQE) OPC() uint8 { return e[0] }

// SetOPC sets the opcode.
func (e SQE) SetOPC(v uint8) { e[0] = v }

// FUSE says whether the command is half of a fused pair; 0 is a normal command.
func (e SQE) FUSE() uint8 { return e[1] & 3 }

// Values of FUSE: the two halves of a fused operation (base 3.4.2).
const (
	FuseFirst  uint8 = 1
	FuseSecond uint8 = 2
)

// PSDT says how data is described: 0 PRP, 1 and 2 SGL. Fabrics allows 1 only.
func (e SQE) PSDT() uint8 { return e[1] >> 6 }

// SetFlags sets FUSE and PSDT together.
func (e SQE) SetFlags(fuse, psdt uint8) { e[1] = fuse&3 | psdt<<6 }

// CID is the command identifier, unique among the outstanding commands of a queue.
func (e SQE) CID() uint16 { return binary.LittleEndian.Uint16(e[2:]) }

// SetCID sets the command identifier.
func (e SQE) SetCID(v uint16) { binary.LittleEndian.PutUint16(e[2:], v) }

// NSID is the namespace identifier; reserved in fabrics commands.
func (e SQE) NSID() uint32 { return binary.LittleEndian.Uint32(e[4:]) }

// SetNSID sets the namespace identifier.
func (e SQE) SetNSID(v uint32) { binary.LittleEndian.PutUint32(e[4:], v) }

// SGL is the first SGL descriptor of the data pointer, a view of the entry itself.
func (e SQE) SGL() SGL { return SGL(e[24:40]) }

// CDW is command dword n, 10 to 15.
func (e SQE) CDW(n int) uint32 { return binary.LittleEndian.Uint32(e[4*n:]) }

// SetCDW sets command dword n, 10 to 15.
func (e SQE) SetCDW(n int, v uint32) { binary.LittleEndian.PutUint32(e[4*n:], v) }

// Bits of CDW12 of the commands that move blocks (nvm 3.2).
const (
	// CDW12LR is limited retry.
	CDW12LR uint32 = 1 << 31
	// CDW12FUA is force unit access.
	CDW12FUA uint32 = 1 << 30
	// CDW12PRACT asks the controller to insert or strip protection information.
	CDW12PRACT uint32 = 1 << 29
	// CDW12PRCHK are the three protection checks.
	CDW12PRCHK uint32 = 7 << 26
	// CDW12DEAC asks Write Zeroes to deallocate (nvm 3.2.8).
	CDW12DEAC uint32 = 1 << 25
)

// SLBA is the first block of read, write, compare and write zeroes (nvm 3.2).
func (e SQE) SLBA() uint64 { return binary.LittleEndian.Uint64(e[40:]) }

// SetSLBA sets the first block.
func (e SQE) SetSLBA(v uint64) { binary.LittleEndian.PutUint64(e[40:], v) }

// Blocks is the number of blocks, 1 to 65536: the field NLB counts from 0 (nvm 3.2).
func (e SQE) Blocks() uint32 { return uint32(binary.LittleEndian.Uint16(e[48:])) + 1 }

// SetBlocks sets NLB for n blocks, 1 to 65536.
func (e SQE) SetBlocks(n uint32) { binary.LittleEndian.PutUint16(e[48:], uint16(n-1)) } //nolint:gosec // the range is the contract
