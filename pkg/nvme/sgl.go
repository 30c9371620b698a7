// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// SGLSize is the size of an SGL descriptor in bytes (base 4.1.2).
const SGLSize = 16

// SGL descriptor types, the identifier byte with its sub type (base 4.1.2; tcp 3.4.1).
const (
	// SGLInCapsule is a data block whose address is an offset into the capsule.
	SGLInCapsule uint8 = 0x01
	// SGLTransport is a transport data block: the transport moves the data.
	SGLTransport uint8 = 0x5A
)

// SGL is an SGL descriptor, SGLSize bytes long. NVMe/TCP has two kinds: SGLInCapsule, SGLTransport.
type SGL []byte

// Address is the offset into the capsule for SGLInCapsule; reserved for SGLTransport.
func (s SGL) Address() uint64 { return binary.LittleEndian.Uint64(s) }

// Length is the length of the data in bytes.
func (s SGL) Length() uint32 { return binary.LittleEndian.Uint32(s[8:]) }

// ID is type and sub type.
func (s SGL) ID() uint8 { return s[15] }

// Set writes a whole descriptor.
func (s SGL) Set(id uint8, address uint64, length uint32) {
	binary.LittleEndian.PutUint64(s, address)
	binary.LittleEndian.PutUint32(s[8:], length)
	s[12], s[13], s[14], s[15] = 0, 0, 0, id
}
