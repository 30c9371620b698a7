// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// Stats implements [driver.Statter]. All bdevs are asked for in one call; what paths have carried is
// the sum over the bdevs of their controller.
func (d *Driver) Stats(ctx context.Context, keys []driver.Key) ([]driver.IOStats, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var names []string
	var paths bool
	for _, key := range keys {
		switch key.Type {
		case driver.TypeBdev:
			names = append(names, key.ID)
		case driver.TypePath:
			paths = true
		case driver.TypeSubsystem, driver.TypeHost, driver.TypeListener, driver.TypeNamespace:
			return nil, errdefs.New(errdefs.InvalidArgument, "%s: only bdevs and paths have counters", key)
		default:
			return nil, errdefs.New(errdefs.InvalidArgument, "%s: only bdevs and paths have counters", key)
		}
	}
	found := make(map[driver.Key]driver.IOStats, len(keys))
	if len(names) > 0 {
		if err := d.bdevStats(ctx, names, found); err != nil {
			return nil, err
		}
	}
	if paths {
		if err := d.pathStats(ctx, keys, found); err != nil {
			return nil, err
		}
	}
	all := make([]driver.IOStats, len(keys))
	for i, key := range keys {
		all[i] = found[key]
	}
	return all, nil
}

// bdevStats adds the counters of bdevs to found.
func (d *Driver) bdevStats(ctx context.Context, names []string, found map[driver.Key]driver.IOStats) error {
	const method = "bdev_get_iostat"
	sess, _ := d.now()
	stats, err := sess.features.GetIostat(ctx, d.client, names)
	if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodeNoDevice {
		for _, name := range names {
			there, lookErr := d.findBdev(ctx, name)
			if lookErr != nil {
				return lookErr
			}
			if there == nil {
				return refuse(errdefs.NotFound, method, err, "bdev %s does not exist", name)
			}
		}
		return refuse(errdefs.Aborted, method, err, "a bdev has just come or gone: try again")
	}
	if err != nil {
		return plain(method, err, "counters of %d bdevs", len(names))
	}
	if len(stats.Bdevs) != len(names) {
		return errdefs.New(errdefs.Internal, "%s: counters of %d bdevs asked for, %d came", method, len(names), len(stats.Bdevs))
	}
	for i := range stats.Bdevs {
		// By position, because a bdev can be asked for by an alias.
		found[driver.BdevKey(names[i])] = ioStats(&stats.Bdevs[i], stats.TickRate)
	}
	return nil
}

func ioStats(s *spdkrpc.IOStat, tickRate uint64) driver.IOStats {
	return driver.IOStats{
		ReadBytes: s.BytesRead, ReadOps: s.NumReadOps,
		WriteBytes: s.BytesWritten, WriteOps: s.NumWriteOps,
		UnmapBytes: s.BytesUnmapped, UnmapOps: s.NumUnmapOps,
		ReadLatencyTicks: s.ReadLatencyTicks, WriteLatencyTicks: s.WriteLatencyTicks, UnmapLatencyTicks: s.UnmapLatencyTicks,
		TickRate: tickRate,
	}
}

// pathStats adds the counters of the paths among keys to found.
func (d *Driver) pathStats(ctx context.Context, keys []driver.Key, found map[driver.Key]driver.IOStats) error {
	o, err := d.Observe(ctx)
	if err != nil {
		return err
	}
	controllers := make(map[string]bool)
	for _, key := range keys {
		if key.Type != driver.TypePath {
			continue
		}
		p, ok := o.Objects[key].(*driver.Path)
		if !ok {
			return errdefs.New(errdefs.NotFound, "no path at this address is attached to the controller")
		}
		controllers[p.Controller] = true
	}
	var bdevs []*driver.Bdev
	for _, object := range o.Objects {
		if b, ok := object.(*driver.Bdev); ok && b.Nvme != nil && controllers[b.Nvme.Controller] {
			bdevs = append(bdevs, b)
		}
	}
	if len(bdevs) == 0 {
		return nil // the controllers have no namespaces, so nothing has been carried
	}
	sess, _ := d.now()
	rate, err := sess.features.GetIostat(ctx, d.client, []string{bdevs[0].Name})
	if err != nil {
		return plain("bdev_get_iostat", err, "tick rate")
	}
	stats := make([][]spdkrpc.PathIOStat, len(bdevs))
	errs := make([]error, len(bdevs))
	var calls sync.WaitGroup
	slots := make(chan struct{}, localWorkers)
	for i, b := range bdevs {
		slots <- struct{}{}
		calls.Go(func() {
			stats[i], errs[i] = spdkrpc.GetPathIostat(ctx, d.client, b.Name)
			<-slots
		})
	}
	calls.Wait()
	for i, b := range bdevs {
		if err := errs[i]; err != nil {
			if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodePerm {
				return refuse(errdefs.FailedPrecondition, "bdev_nvme_get_path_iostat", err,
					"paths are not counted: controllers were attached before the option io_path_stat was set")
			}
			return plain("bdev_nvme_get_path_iostat", err, "counters of the paths of bdev %s", b.Name)
		}
		for j := range stats[i] {
			t := stats[i][j].Trid
			key := driver.PathKey(b.Nvme.Controller, address(t.Trtype, t.Adrfam, t.Traddr, t.Trsvcid), t.Subnqn)
			sum := found[key]
			sum.Add(ioStats(&stats[i][j].Stat, rate.TickRate))
			found[key] = sum
		}
	}
	return nil
}

// ConnectedHosts implements [driver.HostCounter]. A controller is counted by its admin queue.
func (d *Driver) ConnectedHosts(ctx context.Context, subsystem string) (map[driver.Key]int, error) {
	const method = "nvmf_subsystem_get_qpairs"
	all, err := d.findSubsystem(ctx, subsystem)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errdefs.New(errdefs.NotFound, "subsystem %s does not exist", subsystem)
	}
	qpairs, err := spdkrpc.GetNvmfQpairs(ctx, d.client, subsystem)
	if err != nil {
		return nil, plain(method, err, "queues of subsystem %s", subsystem)
	}
	hosts := make(map[driver.Key]int)
	for _, o := range all {
		if l, ok := o.(*driver.Listener); ok {
			hosts[l.Key()] = 0
		}
	}
	for i := range qpairs {
		if a := qpairs[i].ListenAddress; qpairs[i].QID == 0 {
			at, _ := d.listenerAddress(a)
			hosts[driver.ListenerKey(subsystem, at)]++
		}
	}
	return hosts, nil
}
