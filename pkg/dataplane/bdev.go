// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func bdevMethods() []method {
	return []method{
		taking("bdev_get_bdevs", refusedInternal, getBdevs).maybe(),
		without("bdev_wait_for_examine", refusedAny("bdev_wait_for_examine requires no parameters"),
			func(_ context.Context, c *call) {
				// Nothing here examines bdevs, so that none is pending once those asked for exist.
				c.later("", func() { c.reply(true) })
			}),
	}
}

type getBdevsParams struct {
	Name      *string `rpc:"name"`
	TimeoutMS uint64  `rpc:"timeout"`
}

// bdevCheckPeriod is how often a bdev that is waited for is looked up.
const bdevCheckPeriod = 100 * time.Millisecond

func getBdevs(ctx context.Context, c *call, p *getBdevsParams) {
	if p.Name == nil {
		infos := c.server.bdevs.List()
		if c.refuseBroken(infos) {
			return
		}
		out := make([]bdevResult, 0, len(infos))
		for _, info := range infos {
			out = append(out, c.server.newBdevResult(info))
		}
		c.reply(out)
		return
	}
	if c.replyBdev(*p.Name) {
		return
	}
	if p.TimeoutMS == 0 {
		c.failErrno(syscall.ENODEV)
		return
	}
	c.later("", func() { c.awaitBdev(ctx, *p.Name, p.TimeoutMS) })
}

// replyBdev answers with one bdev, or why it cannot be shown, or reports that it does not exist.
func (c *call) replyBdev(name string) bool {
	info, err := c.server.bdevs.Lookup(name)
	if err == nil && !c.refuseBroken([]*bdev.Info{info}) {
		c.reply([]bdevResult{c.server.newBdevResult(info)})
	}
	return err == nil
}

// awaitBdev looks for a bdev until the time is up.
func (c *call) awaitBdev(ctx context.Context, name string, timeoutMS uint64) {
	const longest = uint64(1<<63-1) / uint64(time.Millisecond)
	deadline := time.NewTimer(time.Duration(min(timeoutMS, longest)) * time.Millisecond)
	defer deadline.Stop()
	tick := time.NewTicker(bdevCheckPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c.replyBdev(name) {
				return
			}
		case <-deadline.C:
			if !c.replyBdev(name) {
				c.failErrno(syscall.ETIMEDOUT)
			}
			return
		case <-ctx.Done():
			c.failErrno(syscall.ETIMEDOUT)
			return
		}
	}
}

// bdevResult is a bdev as bdev_get_bdevs shows it, members in SPDK's order.
type bdevResult struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases"`
	ProductName string   `json:"product_name"`
	BlockSize   uint32   `json:"block_size"`
	NumBlocks   uint64   `json:"num_blocks"`
	*writeHints
	UUID                 uuid.UUID      `json:"uuid"`
	NumaID               *int           `json:"numa_id,omitempty"`
	MdSize               uint32         `json:"md_size,omitempty"`
	MdInterleave         *bool          `json:"md_interleave,omitempty"`
	DifType              *uint32        `json:"dif_type,omitempty"`
	DifIsHeadOfMd        *bool          `json:"dif_is_head_of_md,omitempty"`
	EnabledDifCheckTypes *difChecks     `json:"enabled_dif_check_types,omitempty"`
	DifPiFormat          *uint32        `json:"dif_pi_format,omitempty"`
	AssignedRateLimits   rateLimits     `json:"assigned_rate_limits"`
	Claimed              bool           `json:"claimed"`
	ClaimType            string         `json:"claim_type,omitempty"`
	Zoned                bool           `json:"zoned"`
	SupportedIOTypes     ioTypes        `json:"supported_io_types"`
	MemoryDomains        []memoryDomain `json:"memory_domains,omitempty"`
	DriverSpecific       any            `json:"driver_specific"`
}

// writeHints are sizes and alignments that suit the bdev.
type writeHints struct {
	PreferredWriteAlignment   uint32 `json:"preferred_write_alignment"`
	PreferredWriteGranularity uint32 `json:"preferred_write_granularity"`
	OptimalWriteSize          uint32 `json:"optimal_write_size"`
	PreferredUnmapAlignment   uint32 `json:"preferred_unmap_alignment"`
	PreferredUnmapGranularity uint32 `json:"preferred_unmap_granularity"`
}

type difChecks struct {
	Reftag bool `json:"reftag"`
	Apptag bool `json:"apptag"`
	Guard  bool `json:"guard"`
}

// rateLimits are limits as SPDK shows them, 0 for none.
type rateLimits struct {
	RwIosPerSec    uint64 `json:"rw_ios_per_sec"`
	RwMbytesPerSec uint64 `json:"rw_mbytes_per_sec"`
	RMbytesPerSec  uint64 `json:"r_mbytes_per_sec"`
	WMbytesPerSec  uint64 `json:"w_mbytes_per_sec"`
}

type memoryDomain struct {
	DMADeviceType string `json:"dma_device_type"`
}

// unknownNuma is how SPDK writes that it does not know the NUMA node.
const unknownNuma = -1

// difTypeWithoutRef is the type of protection information that has no reference tag.
const difTypeWithoutRef = 3

func (s *Server) newBdevResult(i *bdev.Info) bdevResult {
	r := bdevResult{
		Name: i.Name, Aliases: i.Aliases, ProductName: i.Product,
		BlockSize: i.Geometry.BlockSizeBytes, NumBlocks: i.Geometry.Blocks,
		UUID: i.UUID, AssignedRateLimits: newRateLimits(i.Limits), Claimed: i.Claimed(), ClaimType: i.ClaimType(),
		SupportedIOTypes: newIOTypes(i.IOTypes), DriverSpecific: i.DriverSpecific,
	}
	if s.manners.writeHints {
		hints := writeHints(i.Hints)
		r.writeHints = &hints
	}
	if r.Aliases == nil {
		r.Aliases = []string{}
	}
	if r.DriverSpecific == nil {
		r.DriverSpecific = struct{}{}
	}
	if i.NUMA {
		r.NumaID = new(int)
		*r.NumaID = unknownNuma
	}
	for _, domain := range i.MemoryDomains {
		r.MemoryDomains = append(r.MemoryDomains, memoryDomain{DMADeviceType: domain})
	}
	if m := &i.Metadata; m.SizeBytes > 0 {
		r.MdSize, r.MdInterleave, r.DifType = m.SizeBytes, &m.Interleaved, &m.DIFType
		if m.DIFType > 0 {
			r.DifIsHeadOfMd, r.DifPiFormat = &m.DIFAtHead, &m.DIFFormat
			r.EnabledDifCheckTypes = &difChecks{Reftag: m.DIFType != difTypeWithoutRef, Guard: true}
		}
	}
	return r
}

type nameParams struct {
	Name string `rpc:"name,required"`
}

// remove deletes a bdev of a module. At once it is not found any more, while its name stays taken;
// in a later turn its users have let go, and the call is answered.
func remove(ctx context.Context, c *call, name, module string) {
	removeThen(ctx, c, name, module, func() {})
}

// removeThen is remove with something to do when the bdev has gone, before the answer.
func removeThen(ctx context.Context, c *call, name, module string, then func()) {
	bdevs := c.server.bdevs
	info, err := bdevs.Lookup(name)
	if err != nil || info.Module != module {
		c.failErrno(syscall.ENODEV)
		return
	}
	marked := make(chan struct{})
	// As long as our own descriptor is open the removal does not end.
	own, err := bdevs.Open(info.Name, false, bdev.Events{Removed: func() { close(marked) }})
	if err != nil {
		c.failErr(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- bdevs.Unregister(ctx, info.Name, module) }()
	select {
	case <-marked:
	case err := <-ended:
		_ = own.Close()
		c.failErr(err)
		return
	}
	c.later("", func() {
		err := errors.Join(own.Close(), <-ended)
		if err == nil {
			c.server.made.forget(info.Name)
			then()
		}
		c.done(err)
	})
}

// created answers with the name of a bdev that has been made, or with why it has not.
func (c *call) created(info *bdev.Info, err error) {
	switch {
	case err == nil:
		c.reply(info.Name)
	case errdefs.ClassOf(err) == errdefs.Internal:
		c.server.cfg.Log.Error("bdev not created", "method", c.method.name, "err", err)
		c.failErr(err)
	default:
		c.failErr(err)
	}
}
