// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"slices"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Reset disconnects and connects a controller again: the path to the remote controller cntlid, or
// all paths one after the other when cntlid is nil. An unknown one is NotFound (ENODEV), one that is
// not connected FailedPrecondition (EPERM); for a disabled one nothing happens.
func (h *Host) Reset(ctx context.Context, name string, cntlid *uint16) error {
	return h.ask(ctx, name, cntlid, opReset)
}

// Enable connects disabled paths; see Reset for the arguments. Enabled ones stay as they are.
func (h *Host) Enable(ctx context.Context, name string, cntlid *uint16) error {
	return h.ask(ctx, name, cntlid, opEnable)
}

// Disable disconnects paths until they are enabled; see Reset for the arguments.
func (h *Host) Disable(ctx context.Context, name string, cntlid *uint16) error {
	return h.ask(ctx, name, cntlid, opDisable)
}

func (h *Host) ask(ctx context.Context, name string, cntlid *uint16, kind operationKind) error {
	h.mu.Lock()
	c := h.find(name)
	var paths []*path
	if c != nil {
		paths = slices.Clone(c.paths)
	}
	h.mu.Unlock()
	if cntlid != nil {
		paths = slices.DeleteFunc(paths, func(p *path) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.cntlid != *cntlid
		})
	}
	if len(paths) == 0 {
		return noController(name)
	}
	for _, p := range paths {
		if err := p.ask(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// SetPreferredPath puts the path to the remote controller cntlid first among the bdev's paths. An
// unknown bdev or controller is NotFound (ENODEV).
func (h *Host) SetPreferredPath(name string, cntlid uint16) error {
	d := h.device(name)
	if d == nil {
		return noBdev(name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	set := d.paths.Load()
	i := slices.IndexFunc(set.list, func(io *ioPath) bool {
		io.path.mu.Lock()
		defer io.path.mu.Unlock()
		return io.path.cntlid == cntlid
	})
	if i < 0 {
		return errdefs.Wrap(errdefs.NotFound, syscall.ENODEV, "bdev %q has no path to controller %d", name, cntlid)
	}
	list := slices.Concat(set.list[i:i+1], set.list[:i], set.list[i+1:])
	d.paths.Store(&pathSet{list: list, policy: set.policy})
	d.forget(nil)
	return nil
}

// SetMultipathPolicy sets the policy of one bdev until it is unregistered. A policy that makes no
// sense is InvalidArgument (EINVAL), an unknown bdev NotFound (ENODEV).
func (h *Host) SetMultipathPolicy(name string, policy Multipath) error {
	if err := policy.validate(); err != nil {
		return err
	}
	d := h.device(name)
	if d == nil {
		return noBdev(name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	d.paths.Store(&pathSet{list: d.paths.Load().list, policy: policy})
	d.forget(nil)
	return nil
}

// Health reads the health log page of a connected path of the controller. An unknown controller is
// NotFound (ENODEV), one without a connection Unavailable (EIO).
func (h *Host) Health(ctx context.Context, name string) (nvme.Health, nvme.IdentifyController, error) {
	h.mu.Lock()
	c := h.find(name)
	var paths []*path
	if c != nil {
		paths = slices.Clone(c.paths)
	}
	h.mu.Unlock()
	if len(paths) == 0 {
		return nvme.Health{}, nvme.IdentifyController{}, noController(name)
	}
	a := paths[0].assoc.Load()
	if a == nil {
		return nvme.Health{}, nvme.IdentifyController{}, unreachable(errNoPath, "NVMe controller %q", name)
	}
	data := make([]byte, nvme.LogHealthSize)
	if err := a.log(ctx, nvme.LogHealth, data); err != nil {
		return nvme.Health{}, nvme.IdentifyController{}, unreachable(err, "NVMe controller %q", name)
	}
	health, err := nvme.DecodeHealth(data)
	if err != nil {
		return nvme.Health{}, nvme.IdentifyController{}, unreachable(err, "NVMe controller %q", name)
	}
	return health, a.ident, nil
}

// PathStat is the I/O of a bdev over one path.
type PathStat struct {
	// Trid is the address of the path.
	Trid TransportID
	// Stats are its counters since it was attached.
	Stats bdev.Stats
}

// PathStats returns the I/O of a bdev over each of its paths. Unless Options.IOPathStat is set that
// is refused (a Refusal with EPERM); an unknown bdev is NotFound (ENODEV).
func (h *Host) PathStats(name string) ([]PathStat, error) {
	if !h.countPaths.Load() {
		return nil, refuse(errdefs.FailedPrecondition, syscall.EPERM, "RPC not enabled if enable_io_path_stat is false")
	}
	d := h.device(name)
	if d == nil {
		return nil, noBdev(name)
	}
	var out []PathStat
	for _, io := range d.paths.Load().list {
		io.path.mu.Lock()
		trid := io.path.set.trid
		io.path.mu.Unlock()
		out = append(out, PathStat{Trid: trid, Stats: io.stats.snapshot()})
	}
	return out, nil
}
