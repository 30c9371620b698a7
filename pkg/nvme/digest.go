// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"encoding/binary"
	"hash/crc32"
)

// DigestSize is the size of a header or data digest in bytes (tcp 3.3.1).
const DigestSize = 4

// Digest returns the CRC32C of the parts, one after the other (tcp 3.3.1).
func Digest(parts ...[]byte) uint32 {
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), p)
	}
	return sum
}

// PutDigest writes the digest of data to b, which must hold DigestSize bytes.
func PutDigest(b, data []byte) { binary.LittleEndian.PutUint32(b, Digest(data)) }

// CheckDigest says whether the digest in b is that of data.
func CheckDigest(b, data []byte) bool {
	return len(b) >= DigestSize && binary.LittleEndian.Uint32(b) == Digest(data)
}
