// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"golang.org/x/sync/errgroup"

	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// benchRig returns a running engine on a real data plane and a bbolt file.
func benchRig(b *testing.B) (*engine.Engine, *testkit.DataPlaneProcess) {
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
	testkit.Eventually(b, "engine settled", func() error { return settled(e, true) })
	return e, dp
}

// BenchmarkCreate measures durable creates of null volumes, by the number in flight.
func BenchmarkCreate(b *testing.B) {
	for _, inFlight := range []int{1, 256} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			e, _ := benchRig(b)
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

// BenchmarkReplay measures how long a pass takes that puts everything back: volumes, and namespaces of
// them in subsystems of ten.
func BenchmarkReplay(b *testing.B) {
	for _, disks := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("disks=%d", disks), func(b *testing.B) {
			e, dp := benchRig(b)
			kind := map[string]*resource.Kind{}
			for _, k := range e.Kinds() {
				kind[k.Plural()] = k
			}
			inParallel(b, disks, func(i int) error {
				_, err := e.Create(b.Context(), kind["nullVolumes"], "", fmt.Sprintf("vol-%d", i), nullVolume())
				return err
			})
			inParallel(b, disks/10, func(i int) error {
				m := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: fmt.Sprintf("%s-%d", testNQN, i)}}
				_, err := e.Create(b.Context(), kind["nvmeSubsystems"], "", fmt.Sprintf("web-%d", i), m)
				return err
			})
			inParallel(b, disks, func(i int) error {
				_, err := e.Create(b.Context(), kind["nvmeNamespaces"], fmt.Sprintf("nvmeSubsystems/web-%d", i/10),
					fmt.Sprintf("disk-%d", i), namespace(fmt.Sprintf("nullVolumes/vol-%d", i)))
				return err
			})
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				dp.Kill()
				testkit.Eventually(b, "loss noticed", func() error { return settled(e, false) })
				dp.Start()
				b.StartTimer()
				testkit.Eventually(b, "everything put back", func() error { return settled(e, true) })
			}
		})
	}
}

// settled returns an error unless the engine has settled, or has not.
func settled(e *engine.Engine, want bool) error {
	if s := e.Status(); s.Settled != want {
		return fmt.Errorf("status %+v", s)
	}
	return nil
}

// inParallel calls work for 0 to n-1, with 64 calls at a time.
func inParallel(b *testing.B, n int, work func(int) error) {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		g.Go(func() error { return work(i) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
