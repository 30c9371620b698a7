// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const benchDisks = 1000

// diskSteps returns the steps that make so many disks: volume, subsystem, listener, namespace.
func diskSteps(port int) []driver.Step {
	address := tcp
	address.Trsvcid = fmt.Sprint(port)
	steps := make([]driver.Step, 0, 4*benchDisks)
	for i := range benchDisks {
		id, first := uuid.NewString(), len(steps)
		nqn, name := fmt.Sprintf("%s%d", someNQN, i), fmt.Sprintf("vol%d", i)
		steps = append(steps,
			driver.Step{Op: driver.Create, Object: &driver.Bdev{Name: name, Kind: driver.BdevNull, BlockSizeBytes: 4096, Blocks: 256, UUID: id}},
			driver.Step{Op: driver.Create, Object: &driver.Subsystem{NQN: nqn, SerialNumber: fmt.Sprint(i), ModelNumber: "model", MaxNamespaces: 32, AllowAnyHost: true}},
			driver.Step{Op: driver.Create, Object: &driver.Listener{Subsystem: nqn, Address: address}, After: []int{first + 1}},
			driver.Step{Op: driver.Create, Object: &driver.Namespace{
				Subsystem: nqn, NSID: 1, Bdev: name, UUID: id, NGUID: strings.ReplaceAll(id, "-", ""),
			}, After: []int{first, first + 1}})
	}
	return steps
}

// BenchmarkDisks makes 1,000 disks on an empty data plane (replay), and observes them.
func BenchmarkDisks(b *testing.B) {
	plane := testkit.DataPlane(b)
	d := runQuiet(b, plane.Socket())
	steps := diskSteps(testkit.FreePort(b))
	restart := func(b *testing.B) {
		before := d.Status().Epoch
		plane.Kill()
		plane.Start()
		testkit.Eventually(b, "connected", func() error {
			if s := d.Status(); !s.Up || s.Epoch == before {
				return errors.New("not yet")
			}
			return nil
		})
	}
	b.Run("raw", func(b *testing.B) {
		c := runClient(b, plane.Socket())
		for b.Loop() {
			b.StopTimer()
			restart(b)
			testkit.Eventually(b, "connected", func() error { return c.Call(b.Context(), "spdk_get_version", nil, nil) })
			b.StartTimer()
			raw(b, c, steps)
		}
	})
	b.Run("apply", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			restart(b)
			b.StartTimer()
			if err := errors.Join(d.Apply(b.Context(), steps)...); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("observe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if o, err := d.Observe(b.Context()); err != nil || len(o.Objects) < len(steps) {
				b.Fatal(len(o.Objects), err)
			}
		}
	})
}

// raw sends the same calls without a driver: what does not depend on anything first, then the rest.
func raw(b *testing.B, c *jsonrpc.Client, steps []driver.Step) {
	b.Helper()
	type params map[string]any
	send := func(method string, p params) *jsonrpc.Pending { return c.Start(b.Context(), method, p, nil) }
	wait := func(calls []*jsonrpc.Pending) {
		for _, call := range calls {
			if err := call.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	calls := []*jsonrpc.Pending{send("nvmf_create_transport", params{"trtype": "TCP"})}
	for _, s := range steps {
		switch o := s.Object.(type) {
		case *driver.Bdev:
			calls = append(calls, send("bdev_null_create", params{"name": o.Name, "block_size": o.BlockSizeBytes, "num_blocks": o.Blocks, "uuid": o.UUID}))
		case *driver.Subsystem:
			calls = append(calls, send("nvmf_create_subsystem", params{"nqn": o.NQN, "serial_number": o.SerialNumber, "allow_any_host": true}))
		}
	}
	wait(calls)
	calls = calls[:0]
	for _, s := range steps {
		switch o := s.Object.(type) {
		case *driver.Listener:
			calls = append(calls, send("nvmf_subsystem_add_listener", params{"nqn": o.Subsystem, "listen_address": params{
				"trtype": "TCP", "adrfam": "IPv4", "traddr": o.Address.Traddr, "trsvcid": o.Address.Trsvcid,
			}}))
		case *driver.Namespace:
			calls = append(calls, send("nvmf_subsystem_add_ns", params{"nqn": o.Subsystem, "namespace": params{
				"nsid": o.NSID, "bdev_name": o.Bdev, "uuid": o.UUID, "nguid": o.NGUID,
			}}))
		}
	}
	wait(calls)
}

func runQuiet(b *testing.B, socket string) *spdk.Driver {
	b.Helper()
	d := start(b, spdk.Config{Network: "unix", Address: socket, Log: slog.New(slog.DiscardHandler)})
	testkit.Eventually(b, "connected", func() error { return d.Status().Err })
	return d
}

func runClient(b *testing.B, socket string) *jsonrpc.Client {
	b.Helper()
	c, err := jsonrpc.NewClient(jsonrpc.ClientConfig{Network: "unix", Address: socket, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	runUntilEnd(b, c.Run)
	return c
}
