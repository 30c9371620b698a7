// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"syscall"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

const secureHost = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-0000-4000-8000-000000000001"

// somePSK returns a key of that many equal bytes.
func somePSK(t testing.TB, b byte, size int) nvme.PSK {
	t.Helper()
	raw := bytes.Repeat([]byte{b}, size)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	psk, err := nvme.ParsePSK(fmt.Appendf(nil, "NVMeTLSkey-1:%02d:%s:", size/16-1, base64.StdEncoding.EncodeToString(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return psk
}

// listenSecure adds a listener with TLS and lets a host in with a key.
func (s *storage) listenSecure(nqn string, psk nvme.PSK) host.TransportID {
	s.t.Helper()
	addr, err := s.target.AddListener(s.t.Context(), nqn, target.ListenerConfig{
		Address: target.Address{ADRFAM: target.IPv4, TRADDR: "127.0.0.1", TRSVCID: "0"}, Secure: true,
	})
	if err == nil {
		err = s.target.AddHost(nqn, target.HostConfig{NQN: secureHost, PSK: &psk})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return host.TransportID{Trtype: "TCP", Adrfam: "IPv4", Traddr: addr.TRADDR, Trsvcid: addr.TRSVCID, Subnqn: nqn}
}

// withKey attaches with that key under a name.
func withKey(hostnqn string, psk nvme.PSK) func(*host.AttachOptions) {
	return func(o *host.AttachOptions) {
		o.HostNQN = hostnqn
		o.Key = func() (nvme.PSK, error) { return psk, nil }
	}
}

// TestSecure does verified I/O of all sizes over TLS, with digests and both suites, and over a
// reconnect; and nobody gets in with another key, another name, or a key that was taken away.
func TestSecure(t *testing.T) {
	t.Parallel()
	for size, digests := range map[int]bool{32: false, 48: true} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			const nqn = "nqn.2016-06.io.spdk:secure"
			s, c := newStorage(t), newClient(t)
			psk := somePSK(t, 7, size)
			for _, name := range []string{nqn, nqn + "2"} {
				if err := s.target.CreateSubsystem(target.SubsystemConfig{NQN: name, SerialNumber: "SN2"}); err != nil {
					t.Fatal(err)
				}
			}
			s.malloc("m", 4096, 2048)
			s.exportTo(nqn, "m", 1)
			trid := s.listenSecure(nqn, psk)
			for name, edit := range map[string]func(*host.AttachOptions){
				"another key":  withKey(secureHost, somePSK(t, 8, size)),
				"another host": withKey(secureHost+"2", psk),
				"no key":       func(o *host.AttachOptions) { o.HostNQN = secureHost },
			} {
				o := c.options("refused", trid)
				edit(&o)
				if _, err := c.Attach(t.Context(), o); !errors.Is(err, syscall.EIO) || !errors.Is(err, errdefs.Unavailable) {
					t.Errorf("%s: %v", name, err)
				}
			}
			bad := c.options("refused", trid)
			bad.Key = func() (nvme.PSK, error) { return nvme.PSK{}, nvme.ErrPSK }
			if _, err := c.Attach(t.Context(), bad); !errors.Is(err, syscall.ENODEV) || !errors.Is(err, nvme.ErrPSK) {
				t.Errorf("a key that cannot be used: %v", err)
			}

			c.attach("nvme0", trid, withKey(secureHost, psk), func(o *host.AttachOptions) {
				o.HeaderDigest, o.DataDigest = digests, digests
				o.Recovery = host.Recovery{LossTimeoutSec: -1, ReconnectDelaySec: 1}
			})
			d := c.open("nvme0n1")
			verify := func(bytes uint32) {
				l, err := ioload.New(ioload.Config{Device: d, IOSizeBytes: bytes, Depth: 8, WritePercent: 50, Verify: true, Seed: 5, Operations: 300})
				if err != nil {
					t.Fatal(err)
				}
				filled, err := l.Fill(t.Context())
				if err != nil || filled.Errors > 0 {
					t.Fatal(err, filled.FirstError)
				}
				if r, err := l.Run(t.Context()); err != nil || r.Errors > 0 || r.Mismatched > 0 {
					t.Errorf("%d bytes a time: %v, %d errors, %d wrong: %v", bytes, err, r.Errors, r.Mismatched, r.FirstError)
				}
			}
			verify(4096)
			if err := c.Reset(t.Context(), "nvme0", nil); err != nil {
				t.Fatal(err)
			}
			verify(131072)
			if err := s.target.RemoveHost(t.Context(), nqn, secureHost); err != nil {
				t.Fatal(err)
			}
			o := c.options("late", trid)
			withKey(secureHost, psk)(&o)
			if _, err := c.Attach(t.Context(), o); err == nil {
				t.Error("a host that was taken off the list gets in")
			}
		})
	}
}

// TestPortals: one address has TLS or not, and nobody is left without who asked for it.
func TestPortals(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	if err := s.target.CreateSubsystem(target.SubsystemConfig{NQN: subnqn + "2", SerialNumber: "SN2"}); err != nil {
		t.Fatal(err)
	}
	trid := s.listen("0")
	at := target.Address{ADRFAM: target.IPv4, TRADDR: trid.Traddr, TRSVCID: trid.Trsvcid}
	_, err := s.target.AddListener(t.Context(), subnqn+"2", target.ListenerConfig{Address: at, Secure: true})
	if !errors.Is(err, errdefs.FailedPrecondition) {
		t.Errorf("TLS where there is none: %v", err)
	}
}
