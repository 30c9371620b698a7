// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// metrics returns what /metrics says.
func (u *bridgeUnderTest) metrics(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+u.server.HTTPAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Volumes and paths are counted in /metrics: those of the bridge, and those of a storage node. Here the
// storage node is the data plane itself.
func TestMetricsOfVolumesAndPaths(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	u := startBridge(t, "--store=bolt://"+t.TempDir()+"/state.db", "--spdk=unix://"+plane.Socket())
	u.await(t)
	const nqn = "nqn.2024-01.io.example:metrics"
	port := testkit.FreePort(t)
	frontend, remote := pb.NewFrontendNvmeServiceClient(u.conn), pb.NewNvmeRemoteControllerServiceClient(u.conn)
	steps := []func(context.Context) error{
		func(context.Context) error { return u.create(t, "vol-1") },
		func(ctx context.Context) error {
			_, err := frontend.CreateNvmeSubsystem(ctx, &pb.CreateNvmeSubsystemRequest{
				NvmeSubsystemId: "subsystem", NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: nqn}},
			})
			return err
		},
		func(ctx context.Context) error {
			_, err := frontend.CreateNvmeNamespace(ctx, &pb.CreateNvmeNamespaceRequest{
				Parent: "nvmeSubsystems/subsystem", NvmeNamespaceId: "disk",
				NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "mallocVolumes/vol-1"}},
			})
			return err
		},
		func(ctx context.Context) error {
			_, err := frontend.CreateNvmeController(ctx, &pb.CreateNvmeControllerRequest{
				Parent: "nvmeSubsystems/subsystem", NvmeControllerId: "endpoint",
				NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
					Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
					Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
						Traddr: "127.0.0.1", Trsvcid: fmt.Sprint(port), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
					}},
				}},
			})
			return err
		},
		func(ctx context.Context) error {
			_, err := remote.CreateNvmeRemoteController(ctx, &pb.CreateNvmeRemoteControllerRequest{
				NvmeRemoteControllerId: "node", NvmeRemoteController: &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH},
			})
			return err
		},
		func(ctx context.Context) error {
			_, err := remote.CreateNvmePath(ctx, &pb.CreateNvmePathRequest{
				Parent: "nvmeRemoteControllers/node", NvmePathId: "path", NvmePath: &pb.NvmePath{
					Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1",
					Fabrics: &pb.FabricsPath{Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4, Trsvcid: int64(port), Subnqn: nqn},
				},
			})
			return err
		},
	}
	for i, step := range steps {
		if err := step(t.Context()); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	testkit.Eventually(t, "volumes and paths are counted", func() error {
		said := u.metrics(t)
		for _, want := range []string{
			`opi_bridge_volume_read_bytes_total{volume="mallocVolumes/vol-1"}`,
			`opi_bridge_volume_write_seconds_total{volume="nvmeRemoteControllers/node/nvmeRemoteNamespaces/noden1"}`,
			`opi_bridge_path_read_ops_total{path="nvmeRemoteControllers/node/nvmePaths/path"}`,
			`opi_bridge_path_state{path="nvmeRemoteControllers/node/nvmePaths/path",state="enabled"} 1`,
			"opi_bridge_counters_left_out 0",
			"opi_bridge_reconcile_lag_seconds 0",
		} {
			if !strings.Contains(said, want) {
				return fmt.Errorf("/metrics lacks %s:\n%s", want, said)
			}
		}
		return nil
	})
}

// However many scrapes there are, the data plane is asked once a second; limits are passed on; and
// without an answer there are no counters.
func TestCounterCollectorSparesTheDataPlane(t *testing.T) {
	t.Parallel()
	now, asked := time.Unix(1000, 0), 0
	var answer error
	c := newCounterCollector(nil, 7, slog.New(slog.DiscardHandler))
	c.now = func() time.Time { return now }
	c.counters = func(_ context.Context, limits engine.CounterLimits) (engine.Counters, error) {
		asked++
		if limits.Volumes != 7 || limits.Paths != 7 || limits.PathBdevs != countedPathBdevs {
			t.Errorf("limits are %+v", limits)
		}
		return engine.Counters{
			Volumes: []engine.VolumeCounters{{Name: "mallocVolumes/a", Stats: driver.IOStats{ReadOps: 3, ReadLatencyTicks: 500, TickRate: 1000}}},
			Paths:   []engine.PathCounters{{Name: "p", State: engine.PathAbsent}}, LeftOut: 2, PathsCounted: true,
		}, answer
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	for range 3 {
		shown := gathered(t, registry)
		for series, want := range map[string]float64{
			"opi_bridge_counters_left_out": 2, "opi_bridge_path_state p absent": 1, "opi_bridge_volume_read_ops_total mallocVolumes/a": 3,
			"opi_bridge_volume_read_seconds_total mallocVolumes/a": 0.5, "opi_bridge_counters_failed_total": 0,
		} {
			if got, there := shown[series]; !there || got != want {
				t.Errorf("%s is %v (%v), want %v", series, got, there, want)
			}
		}
		if len(shown) != 12 {
			t.Errorf("series are %v: an absent path carries nothing", shown)
		}
	}
	if asked != 1 {
		t.Errorf("three scrapes at once asked %d times", asked)
	}
	now, answer = now.Add(countersKept), errors.New("away")
	if shown := gathered(t, registry); len(shown) != 1 || shown["opi_bridge_counters_failed_total"] != 1 || asked != 2 {
		t.Errorf("without an answer the series are %v, asked %d times", shown, asked)
	}
}

// gathered returns the value of each series, by its name and the values of its labels.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			series := family.GetName()
			for _, label := range metric.GetLabel() {
				series += " " + label.GetValue()
			}
			shown[series] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return shown
}
