// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// XTSKey is a pair of keys for AES-XTS (IEEE 1619), which it never shows. It is safe for concurrent
// use.
type XTSKey struct {
	data, tweak cipher.Block
}

// NewXTSKey returns the key made of a data key and a tweak key, of 16 bytes each (XTS-AES-128) or 32
// (XTS-AES-256). Other lengths and two equal keys, which would be no XTS, are InvalidArgument
// (EINVAL). It keeps neither slice.
func NewXTSKey(data, tweak []byte) (*XTSKey, error) {
	const short, long = 16, 32
	switch {
	case len(data) != short && len(data) != long:
		return nil, errInvalid("a key of %d bytes: AES-XTS takes %d or %d", len(data), short, long)
	case len(tweak) != len(data):
		return nil, errInvalid("keys of %d and %d bytes: both must have the same length", len(data), len(tweak))
	case subtle.ConstantTimeCompare(data, tweak) == 1:
		return nil, errInvalid("the two keys are equal, which is not secure")
	}
	d, err := aes.NewCipher(data)
	if err != nil {
		return nil, errInvalid("data key: %v", err)
	}
	t, err := aes.NewCipher(tweak)
	if err != nil {
		return nil, errInvalid("tweak key: %v", err)
	}
	return &XTSKey{data: d, tweak: t}, nil
}

// xtsScratch is memory for the cipher, so that it need not be taken for each block.
type xtsScratch struct {
	tweak, last [aes.BlockSize]byte
}

// xtsMinUnit is the smallest data unit in bytes.
const xtsMinUnit = aes.BlockSize

// seed prepares the tweak of a data unit. It is the number of the unit in little-endian order, but in
// the upper half of the 16 bytes: so SPDK's software module has it (tweak mode SIMPLE_LBA, the lower
// half is zero), and what is at rest must be what SPDK would read. Usual implementations of XTS put
// the number into the lower half.
func (k *XTSKey) seed(s *xtsScratch, unit uint64) {
	clear(s.tweak[:8])
	binary.LittleEndian.PutUint64(s.tweak[8:], unit)
	k.tweak.Encrypt(s.tweak[:], s.tweak[:])
}

// double multiplies the tweak by x in GF(2^128).
func (s *xtsScratch) double() {
	low, high := binary.LittleEndian.Uint64(s.tweak[:8]), binary.LittleEndian.Uint64(s.tweak[8:])
	carry := high >> 63
	binary.LittleEndian.PutUint64(s.tweak[8:], high<<1|low>>63)
	binary.LittleEndian.PutUint64(s.tweak[:8], low<<1^carry*0x87)
}

// encrypt encrypts one data unit of at least xtsMinUnit bytes. dst has its length; it is src or does
// not overlap with it.
func (k *XTSKey) encrypt(s *xtsScratch, dst, src []byte, unit uint64) {
	k.seed(s, unit)
	whole := len(src) / aes.BlockSize * aes.BlockSize
	rest := len(src) - whole
	for i := 0; i < whole; i += aes.BlockSize {
		xorBlock(dst[i:], src[i:], &s.tweak)
		k.data.Encrypt(dst[i:], dst[i:])
		xorBlock(dst[i:], dst[i:], &s.tweak)
		s.double()
	}
	if rest == 0 {
		return
	}
	// Ciphertext stealing: the last whole block lends the end of its ciphertext to the rest.
	lender := dst[whole-aes.BlockSize : whole]
	copy(s.last[:], src[whole:])
	copy(s.last[rest:], lender[rest:])
	copy(dst[whole:], lender[:rest])
	xorBlock(lender, s.last[:], &s.tweak)
	k.data.Encrypt(lender, lender)
	xorBlock(lender, lender, &s.tweak)
}

// decrypt is the reverse of encrypt.
func (k *XTSKey) decrypt(s *xtsScratch, dst, src []byte, unit uint64) {
	k.seed(s, unit)
	whole := len(src) / aes.BlockSize * aes.BlockSize
	rest := len(src) - whole
	plain := whole
	if rest > 0 {
		plain -= aes.BlockSize
	}
	for i := 0; i < plain; i += aes.BlockSize {
		xorBlock(dst[i:], src[i:], &s.tweak)
		k.data.Decrypt(dst[i:], dst[i:])
		xorBlock(dst[i:], dst[i:], &s.tweak)
		s.double()
	}
	if rest == 0 {
		return
	}
	// The last whole block has the later tweak, and holds the rest and the end of the block before.
	earlier := s.tweak
	s.double()
	lender := dst[plain:whole]
	xorBlock(s.last[:], src[plain:whole], &s.tweak)
	k.data.Decrypt(s.last[:], s.last[:])
	xorBlock(s.last[:], s.last[:], &s.tweak)
	for i := range rest {
		s.last[i], dst[whole+i] = src[whole+i], s.last[i]
	}
	s.tweak = earlier
	xorBlock(lender, s.last[:], &s.tweak)
	k.data.Decrypt(lender, lender)
	xorBlock(lender, lender, &s.tweak)
}

// xorBlock sets the first block of dst to that of src xor t.
func xorBlock(dst, src []byte, t *[aes.BlockSize]byte) {
	_, _ = dst[aes.BlockSize-1], src[aes.BlockSize-1]
	low := binary.LittleEndian.Uint64(src) ^ binary.LittleEndian.Uint64(t[:8])
	high := binary.LittleEndian.Uint64(src[8:]) ^ binary.LittleEndian.Uint64(t[8:])
	binary.LittleEndian.PutUint64(dst, low)
	binary.LittleEndian.PutUint64(dst[8:], high)
}
