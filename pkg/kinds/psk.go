// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// checkPSK notes a pre-shared key that is not in the interchange format: "NVMeTLSkey-1:", the hash
// (01: SHA-256, 32 bytes; 02: SHA-384, 48 bytes), and in base64 the key with its CRC-32, least
// significant byte first (NVMe/TCP Transport Specification 1.0, section 3.6.1.5). It says nothing of
// the key itself.
func checkPSK(v *resource.Violations, field string, psk []byte) {
	const want = "must be a key in the interchange format NVMeTLSkey-1:01:<base64>: or NVMeTLSkey-1:02:<base64>:"
	parts := strings.Split(strings.TrimSpace(string(psk)), ":")
	if len(parts) != 4 || parts[0] != "NVMeTLSkey-1" || parts[3] != "" {
		v.Check(false, field, want)
		return
	}
	keyBytes := map[string]int{"01": 32, "02": 48}[parts[1]]
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	switch {
	case keyBytes == 0:
		v.Check(false, field, "%s; its hash is neither 01 nor 02", want)
	case err != nil || len(raw) != keyBytes+crc32.Size:
		v.Check(false, field, "%s, of %d bytes and their CRC-32", want, keyBytes)
	default:
		v.Check(binary.LittleEndian.Uint32(raw[keyBytes:]) == crc32.ChecksumIEEE(raw[:keyBytes]), field,
			"has a CRC-32 that does not fit its key: it was damaged on the way")
	}
}
