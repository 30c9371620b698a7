// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const storageNQN = testNQN + "storage"

// furnish makes what histories need besides the bridge: ports, a file, and a storage node that can be
// reached at two ports.
func (r *rig) furnish() {
	r.t.Helper()
	r.image = filepath.Join(r.dir, "file.img")
	must(r.t, os.WriteFile(r.image, make([]byte, 1<<20), 0o600))
	const uuid = "00000000-0000-4000-8000-000000000001"
	steps := []driver.Step{
		{Op: driver.Create, Object: &driver.Subsystem{NQN: storageNQN, SerialNumber: "STORAGE", AllowAnyHost: true}},
		{Op: driver.Create, Object: &driver.Bdev{Name: "s1", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 8192, UUID: uuid}},
		{Op: driver.Create, After: []int{0, 1}, Object: &driver.Namespace{
			Subsystem: storageNQN, NSID: 1, Bdev: "s1", UUID: uuid, NGUID: "00000000000040008000000000000001",
		}},
	}
	for i := range r.ports {
		r.ports[i], r.storage[i] = testkit.FreePort(r.t), testkit.FreePort(r.t)
		steps = append(steps, driver.Step{Op: driver.Create, After: []int{0}, Object: &driver.Listener{
			Subsystem: storageNQN,
			Address:   driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(r.storage[i])},
		}})
	}
	d, err := spdk.New(spdk.Config{
		Network: "unix", Address: testkit.DataPlane(r.t).Socket(), Log: slog.New(slog.DiscardHandler), MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
	})
	must(r.t, err)
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	testkit.Eventually(r.t, "the storage node is there", func() error {
		if s := d.Status(); !s.Up {
			return errors.Join(s.Err, errors.New("not up"))
		}
		return nil
	})
	must(r.t, errors.Join(d.Apply(ctx, steps)...))
	cancel()
	<-ended
}
