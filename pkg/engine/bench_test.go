// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// benchEngine returns a running engine on a real data plane and a bbolt file.
func benchEngine(b *testing.B) *engine.Engine {
	b.Helper()
	dp := testkit.DataPlane(b, "--log-level", "warn")
	log := slog.New(slog.DiscardHandler)
	s, err := bolt.New(bolt.Config{URL: "bolt://" + b.TempDir() + "/state.db"})
	if err != nil {
		b.Fatal(err)
	}
	d, err := spdk.New(spdk.Config{Network: "unix", Address: dp.Socket(), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	all, err := kinds.All()
	if err != nil {
		b.Fatal(err)
	}
	e, err := engine.New(engine.Config{Driver: d, Store: s, Kinds: all, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- d.Run(b.Context()) }()
	go func() { done <- e.Run(b.Context()) }()
	b.Cleanup(func() { // the test's context has ended
		<-done
		<-done
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	testkit.Eventually(b, "engine settled", func() error {
		if !e.Status().Settled {
			return fmt.Errorf("status %+v", e.Status())
		}
		return nil
	})
	return e
}

// BenchmarkCreate measures durable creates of null volumes, by the number in flight.
func BenchmarkCreate(b *testing.B) {
	for _, inFlight := range []int{1, 256} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			e := benchEngine(b)
			kind := e.Kinds()[0]
			var n atomic.Int64
			b.SetParallelism((inFlight + 1) / 2) // times GOMAXPROCS
			b.ReportAllocs()
			b.ResetTimer()
			if inFlight == 1 {
				for b.Loop() {
					if _, err := e.Create(b.Context(), kind, "", fmt.Sprintf("vol-%d", n.Add(1)), nullVolume()); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := e.Create(b.Context(), kind, "", fmt.Sprintf("vol-%d", n.Add(1)), nullVolume()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
