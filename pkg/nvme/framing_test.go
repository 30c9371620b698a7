// SPDX-License-Identifier: Apache-2.0

package nvme_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// TestFraming builds every PDU under every framing and takes it apart again.
func TestFraming(t *testing.T) {
	for _, typ := range []nvme.PDUType{nvme.PDUCapsuleCmd, nvme.PDUCapsuleResp, nvme.PDUH2CData, nvme.PDUC2HData, nvme.PDUR2T} {
		for bits := range 4 {
			for _, align := range []uint8{0, 1, 7, 31} {
				for _, n := range []uint32{0, 1, 512} {
					withData := typ == nvme.PDUCapsuleCmd || typ == nvme.PDUH2CData || typ == nvme.PDUC2HData
					needsData := typ == nvme.PDUH2CData || typ == nvme.PDUC2HData
					if n > 0 != withData && (n > 0 || needsData) {
						continue
					}
					f := nvme.Framing{HeaderDigest: bits&1 != 0, DataDigest: bits&2 != 0, DataAlignment: align}
					b := make([]byte, 1024)
					for i := range b {
						b[i] = 0xEE
					}
					at := f.PutCH(b, typ, 0, n)
					f.Seal(b)
					fromHost := typ == nvme.PDUCapsuleCmd || typ == nvme.PDUH2CData
					fr, err := f.Check(nvme.CH(b), fromHost)
					if err != nil {
						t.Fatalf("%#x %+v %d: %v", typ, f, n, err)
					}
					if fr.DataLen != n || fr.Data != at || fr.DataDigest != (f.DataDigest && n > 0) {
						t.Errorf("%#x %+v %d: frame %+v, data at %d", typ, f, n, fr, at)
					}
					if err := f.CheckHeader(b, fr); err != nil {
						t.Errorf("%#x %+v: %v", typ, f, err)
					}
					if f.HeaderDigest {
						b[10] ^= 1
						var pe *nvme.PDUError
						if err := f.CheckHeader(b, fr); !errors.As(err, &pe) || pe.FES != nvme.FESHeaderDigest {
							t.Errorf("%#x: damaged header gives %v", typ, err)
						}
					}
					if _, err := f.Check(nvme.CH(b), !fromHost); err == nil {
						t.Errorf("%#x is accepted from the wrong end", typ)
					}
				}
			}
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	dig := nvme.Framing{HeaderDigest: true, DataDigest: true}
	aligned := nvme.Framing{DataAlignment: 31}
	for _, c := range []struct {
		what string
		f    nvme.Framing
		ch   []byte
		fei  uint32
	}{
		{"unknown type", nvme.Framing{}, []byte{0x08, 0, 24, 0, 24, 0, 0, 0}, 0},
		{"kinds of the other end", nvme.Framing{}, []byte{0x05, 0, 24, 0, 24, 0, 0, 0}, 0},
		{"short header", nvme.Framing{}, []byte{0x04, 0, 71, 0, 72, 0, 0, 0}, 2},
		{"PLEN below header", nvme.Framing{}, []byte{0x04, 0, 72, 0, 71, 0, 0, 0}, 4},
		{"PLEN below digest", dig, []byte{0x04, 1, 72, 0, 75, 0, 0, 0}, 4},
		{"missing digest flag", dig, []byte{0x04, 0, 72, 0, 76, 0, 0, 0}, 1},
		{"surplus digest flag", nvme.Framing{}, []byte{0x04, 1, 72, 0, 76, 0, 0, 0}, 1},
		{"missing data digest flag", dig, []byte{0x04, 1, 72, 76, 200, 0, 0, 0}, 1},
		{"PDO inside header", nvme.Framing{}, []byte{0x04, 0, 72, 8, 200, 0, 0, 0}, 3},
		{"PDO not aligned to 4", nvme.Framing{}, []byte{0x04, 0, 72, 74, 200, 0, 0, 0}, 3},
		{"PDO not aligned to 128", aligned, []byte{0x04, 0, 72, 72, 200, 0, 0, 0}, 3},
		{"PDO beyond the end", nvme.Framing{}, []byte{0x04, 0, 72, 80, 80, 0, 0, 0}, 4},
		{"no room for the data digest", dig, []byte{0x04, 3, 72, 76, 80, 0, 0, 0}, 4},
		{"H2CData without data", nvme.Framing{}, []byte{0x06, 0, 24, 24, 24, 0, 0, 0}, 4},
		{"ICReq too long", nvme.Framing{}, []byte{0x00, 0, 128, 0, 129, 0, 0, 0}, 4},
		{"TermReq too long", nvme.Framing{}, []byte{0x02, 0, 24, 0, 153, 0, 0, 0}, 4},
		{"TermReq too short", nvme.Framing{}, []byte{0x02, 0, 24, 0, 23, 0, 0, 0}, 4},
		{"ICReq with digest", nvme.Framing{}, []byte{0x00, 1, 128, 0, 128, 0, 0, 0}, 1},
	} {
		_, err := c.f.Check(c.ch, true)
		var pe *nvme.PDUError
		if !errors.As(err, &pe) || pe.FES != nvme.FESInvalidHeaderField || pe.FEI != c.fei {
			t.Errorf("%s: %v, want an invalid header field at offset %d", c.what, err, c.fei)
		}
	}
}

func TestTermReq(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 500)
	d := nvme.TermReq{FES: nvme.FESSequence, FEI: 0x01020304, Header: long}
	b := d.Encode(true)
	if len(b) != nvme.TermReqMax {
		t.Fatalf("length = %d", len(b))
	}
	if _, err := (nvme.Framing{}).Check(b, true); err != nil {
		t.Fatal(err)
	}
	got, err := nvme.DecodeTermReq(b)
	if err != nil || got.FES != d.FES || got.FEI != d.FEI || !bytes.Equal(got.Header, long[:128]) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte{4, 3, 72, 76, 0, 16, 0, 0}, true, true, uint8(3), true)
	f.Add([]byte{6, 0, 24, 24, 255, 255, 255, 255}, false, false, uint8(31), true)
	f.Fuzz(func(t *testing.T, b []byte, hd, dd bool, align uint8, fromHost bool) {
		if len(b) < nvme.CHSize {
			return
		}
		fm := nvme.Framing{HeaderDigest: hd, DataDigest: dd, DataAlignment: align & nvme.PDAMax}
		fr, err := fm.Check(b, fromHost)
		if err != nil {
			return
		}
		end := uint64(fr.Data) + uint64(fr.DataLen)
		if fr.DataDigest {
			end += nvme.DigestSize
		}
		if fr.Header > fr.Data || end != uint64(fr.PDULen) {
			t.Errorf("frame %+v of %x does not add up", fr, b[:8])
		}
	})
}
