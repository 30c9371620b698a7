// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// BenchmarkRemote measures I/O over loopback against the target in the same process, so initiator
// and target share the processors.
func BenchmarkRemote(b *testing.B) {
	for _, tc := range []struct {
		size   uint32
		depth  int
		writes int
		tls    bool
	}{
		{4096, 1, 0, false},
		{4096, 32, 0, false},
		{4096, 128, 0, false},
		{4096, 1, 100, false},
		{4096, 32, 100, false},
		{131072, 8, 0, false},
		{131072, 8, 100, false},
		{4096, 1, 0, true},
		{4096, 32, 0, true},
		{131072, 8, 0, true},
		{131072, 8, 100, true},
	} {
		b.Run(fmt.Sprintf("size=%d/depth=%d/writes=%d/tls=%t", tc.size, tc.depth, tc.writes, tc.tls), func(b *testing.B) {
			s, c := newStorage(b), newClient(b, quiet)
			s.malloc("m", 4096, 16384)
			s.export("m", 1)
			if tc.tls {
				psk := somePSK(b, 1, 32)
				if err := s.target.SetAllowAnyHost(subnqn, false); err != nil {
					b.Fatal(err)
				}
				c.attach("nvme0", s.listenSecure(subnqn, psk), withKey(secureHost, psk))
			} else {
				c.attach("nvme0", s.listen("0"))
			}
			d := c.open("nvme0n1")
			fill(b, d)
			l, err := ioload.New(ioload.Config{
				Device: d, IOSizeBytes: tc.size, Depth: tc.depth, WritePercent: tc.writes, Operations: uint64(b.N),
			})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(tc.size))
			b.ReportAllocs()
			b.ResetTimer()
			res, err := l.Run(b.Context())
			if err != nil || res.Errors > 0 {
				b.Fatal(err, res.FirstError)
			}
			b.ReportMetric(res.IOPS(), "iops")
			b.ReportMetric(float64(res.Latency.Percentile(50).Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(res.Latency.Percentile(99).Nanoseconds()), "p99-ns")
		})
	}
}

// fill writes all of a device once, so that its memory is there.
func fill(b *testing.B, d bdev.Device) {
	b.Helper()
	l, err := ioload.New(ioload.Config{Device: d, IOSizeBytes: 131072, Depth: 4, Operations: 1})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.Fill(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
}

func quiet(cfg *host.Config) { cfg.Log = slog.New(slog.DiscardHandler) }
