// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
)

// ErrPSK says that a pre-shared key cannot be used. No such error tells any of the key.
var ErrPSK = errors.New("the pre-shared key cannot be used")

// PSK is a configured pre-shared key for NVMe/TCP over TLS (tcp 3.6.1). It does not print.
type PSK struct {
	key []byte
	// retain is 0 when the key is used as it is; otherwise it is bound to the host first.
	retain byte
}

// Values of the hash in the interchange format.
const (
	pskHashNone   = 0
	pskHashSHA256 = 1
	pskHashSHA384 = 2
)

// pskMax bounds the interchange format, in bytes, as SPDK does.
const pskMax = 200

// ParsePSK reads the interchange format (tcp 3.6.1.5): "NVMeTLSkey-1:", the hash in two digits, and in
// base64 the key of 32 or 48 bytes with its CRC-32, between colons and nothing else.
func ParsePSK(text []byte) (PSK, error) {
	const prefix = "NVMeTLSkey-1:"
	rest, ok := bytes.CutPrefix(text, []byte(prefix))
	if !ok || len(text) >= pskMax || len(rest) < 4 || rest[2] != ':' || rest[len(rest)-1] != ':' || rest[0] != '0' {
		return PSK{}, fmt.Errorf("it is not of the form NVMeTLSkey-1:NN:<base64>: %w", ErrPSK)
	}
	raw, err := base64.StdEncoding.DecodeString(string(rest[3 : len(rest)-1]))
	if err != nil {
		return PSK{}, fmt.Errorf("its base64 is malformed: %w", ErrPSK) // the cause would quote the key
	}
	p := PSK{retain: rest[1] - '0'}
	size := len(raw) - crc32.Size
	switch {
	case p.retain > pskHashSHA384:
		return PSK{}, fmt.Errorf("its hash is none of 00, 01 and 02: %w", ErrPSK)
	case size != sha256.Size && size != sha512.Size384,
		p.retain == pskHashSHA256 && size != sha256.Size, p.retain == pskHashSHA384 && size != sha512.Size384:
		return PSK{}, fmt.Errorf("its length does not fit its hash: %w", ErrPSK)
	case binary.LittleEndian.Uint32(raw[size:]) != crc32.ChecksumIEEE(raw[:size]):
		return PSK{}, fmt.Errorf("its CRC-32 does not fit: %w", ErrPSK)
	}
	p.key = raw[:size]
	return p, nil
}

// String does not tell the key.
func (p PSK) String() string { return "[redacted]" }

// GoString does not tell the key.
func (p PSK) GoString() string { return p.String() }

// SHA384 says whether the key goes with SHA-384 and TLS_AES_256_GCM_SHA384. Otherwise it goes with
// SHA-256 and TLS_AES_128_GCM_SHA256.
func (p PSK) SHA384() bool { return len(p.key) == sha512.Size384 }

func (p PSK) hash() func() hash.Hash {
	if p.SHA384() {
		return sha512.New384
	}
	return sha256.New
}

// Identity returns the name by which TLS knows the key between a host and a subsystem (tcp 3.6.1.3),
// of version 0.
func (p PSK) Identity(hostNQN, subNQN string) string {
	hashed := "01"
	if p.SHA384() {
		hashed = "02"
	}
	return "NVMe0R" + hashed + " " + hostNQN + " " + subNQN
}

// TLS returns the key that TLS uses between a host and a subsystem. The identity must have at most 255
// bytes, which SPDK demands too: longer names are ErrPSK.
func (p PSK) TLS(hostNQN, subNQN string) (key []byte, err error) {
	retained := p.key
	if p.retain != pskHashNone {
		if retained, err = p.expand(p.key, "HostNQN", hostNQN); err != nil {
			return nil, err
		}
	}
	return p.expand(retained, "nvme-tls-psk", p.Identity(hostNQN, subNQN))
}

// expand is HKDF-Extract without salt and HKDF-Expand-Label of TLS (RFC 8446 section 7.1). The output
// is as long as the key.
func (p PSK) expand(secret []byte, label, context string) ([]byte, error) {
	const prefix, longest = "tls13 ", 255
	if len(context) > longest {
		return nil, fmt.Errorf("the names of host and subsystem are %d bytes too long for TLS: %w", len(context)-longest, ErrPSK)
	}
	info := binary.BigEndian.AppendUint16(nil, uint16(len(p.key))) //nolint:gosec // 32 or 48
	info = append(info, byte(len(prefix)+len(label)))              //nolint:gosec // short
	info = append(info, prefix+label...)
	info = append(info, byte(len(context))) //nolint:gosec // checked
	info = append(info, context...)
	out, err := hkdf.Key(p.hash(), secret, nil, string(info), len(p.key))
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return out, nil
}
