// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// CQESize is the size of a completion queue entry in bytes (base 3.3.3.2).
const CQESize = 16

// CQE is a completion queue entry (base 3.3.3.2), CQESize bytes long.
type CQE []byte

// DW0 is command specific.
func (e CQE) DW0() uint32 { return binary.LittleEndian.Uint32(e) }

// SetDW0 sets dword 0.
func (e CQE) SetDW0(v uint32) { binary.LittleEndian.PutUint32(e, v) }

// Value is dword 0 and 1 as one number: the answer to Property Get.
func (e CQE) Value() uint64 { return binary.LittleEndian.Uint64(e) }

// SetValue sets dword 0 and 1.
func (e CQE) SetValue(v uint64) { binary.LittleEndian.PutUint64(e, v) }

// SQHD is the submission queue head; the host may reuse the slots before it.
func (e CQE) SQHD() uint16 { return binary.LittleEndian.Uint16(e[8:]) }

// SetSQHD sets the submission queue head.
func (e CQE) SetSQHD(v uint16) { binary.LittleEndian.PutUint16(e[8:], v) }

// SQID is the submission queue identifier; reserved in fabrics.
func (e CQE) SQID() uint16 { return binary.LittleEndian.Uint16(e[10:]) }

// CID is the identifier of the command that is answered.
func (e CQE) CID() uint16 { return binary.LittleEndian.Uint16(e[12:]) }

// SetCID sets the identifier of the command.
func (e CQE) SetCID(v uint16) { binary.LittleEndian.PutUint16(e[12:], v) }

// Status is the status field; the phase bit, which fabrics do not have, is left out.
func (e CQE) Status() Status { return Status(binary.LittleEndian.Uint16(e[14:]) >> 1) }

// SetStatus sets the status field and clears the phase bit.
func (e CQE) SetStatus(s Status) { binary.LittleEndian.PutUint16(e[14:], uint16(s)<<1) }
