// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

func iostatMethods() []method {
	return []method{
		taking("bdev_get_iostat", refusedInternal, getIostat).maybe(),
		taking("bdev_reset_iostat", refusedInternal, resetIostat).maybe(),
	}
}

// resetMode says which statistics start anew.
type resetMode string

func (resetMode) words() []string { return []string{"all", "maxmin", "error", "none"} }

func (m resetMode) mode() bdev.ResetMode {
	switch m {
	case "all":
		return bdev.ResetAll
	case "maxmin":
		return bdev.ResetMaxMin
	case "error":
		return bdev.ResetErrors
	default:
		return bdev.ResetNone
	}
}

type getIostatParams struct {
	Name       *string   `rpc:"name"` // in older versions
	Names      *[]string `rpc:"names"`
	PerChannel bool      `rpc:"per_channel"`
	ResetMode  resetMode `rpc:"reset_mode"`
}

type iostatResult struct {
	TickRate uint64       `json:"tick_rate"`
	Ticks    uint64       `json:"ticks"`
	Bdevs    []bdevIostat `json:"bdevs"`
}

type channelIostatResult struct {
	TickRate uint64          `json:"tick_rate"`
	Ticks    uint64          `json:"ticks"`
	Name     string          `json:"name"`
	Channels []channelIostat `json:"channels"`
}

type bdevIostat struct {
	Name string `json:"name"`
	ioCounters
	// DriverSpecific is an empty object for bdevs of a kind that could tell more.
	DriverSpecific *struct{} `json:"driver_specific,omitempty"`
}

type channelIostat struct {
	ThreadID int `json:"thread_id"`
	ioCounters
}

// ioCounters are written in SPDK's order. Copies are not an operation of our bdevs.
type ioCounters struct {
	BytesRead            uint64            `json:"bytes_read"`
	NumReadOps           uint64            `json:"num_read_ops"`
	BytesWritten         uint64            `json:"bytes_written"`
	NumWriteOps          uint64            `json:"num_write_ops"`
	BytesUnmapped        uint64            `json:"bytes_unmapped"`
	NumUnmapOps          uint64            `json:"num_unmap_ops"`
	BytesCopied          uint64            `json:"bytes_copied"`
	NumCopyOps           uint64            `json:"num_copy_ops"`
	ReadLatencyTicks     uint64            `json:"read_latency_ticks"`
	MaxReadLatencyTicks  uint64            `json:"max_read_latency_ticks"`
	MinReadLatencyTicks  uint64            `json:"min_read_latency_ticks"`
	WriteLatencyTicks    uint64            `json:"write_latency_ticks"`
	MaxWriteLatencyTicks uint64            `json:"max_write_latency_ticks"`
	MinWriteLatencyTicks uint64            `json:"min_write_latency_ticks"`
	UnmapLatencyTicks    uint64            `json:"unmap_latency_ticks"`
	MaxUnmapLatencyTicks uint64            `json:"max_unmap_latency_ticks"`
	MinUnmapLatencyTicks uint64            `json:"min_unmap_latency_ticks"`
	CopyLatencyTicks     uint64            `json:"copy_latency_ticks"`
	MaxCopyLatencyTicks  uint64            `json:"max_copy_latency_ticks"`
	MinCopyLatencyTicks  uint64            `json:"min_copy_latency_ticks"`
	IOError              map[string]uint64 `json:"io_error,omitzero"`
}

func newIOCounters(s *bdev.Stats) ioCounters {
	c := ioCounters{
		BytesRead: s.Read.Bytes, NumReadOps: s.Read.Ops,
		BytesWritten: s.Write.Bytes, NumWriteOps: s.Write.Ops,
		BytesUnmapped: s.Unmap.Bytes, NumUnmapOps: s.Unmap.Ops,
		ReadLatencyTicks: s.Read.LatencyTicks, MaxReadLatencyTicks: s.Read.MaxTicks, MinReadLatencyTicks: s.Read.MinTicks,
		WriteLatencyTicks: s.Write.LatencyTicks, MaxWriteLatencyTicks: s.Write.MaxTicks,
		MinWriteLatencyTicks: s.Write.MinTicks,
		UnmapLatencyTicks:    s.Unmap.LatencyTicks, MaxUnmapLatencyTicks: s.Unmap.MaxTicks,
		MinUnmapLatencyTicks: s.Unmap.MinTicks,
		IOError:              map[string]uint64{},
	}
	if s.Failed > 0 {
		c.IOError["failed"] = s.Failed
	}
	if s.Miscompared > 0 {
		c.IOError["miscompare"] = s.Miscompared
	}
	return c
}

func getIostat(_ context.Context, c *call, p *getIostatParams) {
	if p.Name != nil {
		if p.Names != nil {
			c.failErrno(syscall.EINVAL)
			return
		}
		p.Names = &[]string{*p.Name}
	}
	if p.PerChannel && (p.Names == nil || len(*p.Names) != 1) {
		c.failErrno(syscall.EINVAL)
		return
	}
	var names []string
	if p.Names != nil {
		for _, name := range *p.Names {
			if _, err := c.server.bdevs.Lookup(name); err != nil {
				c.failErr(err)
				return
			}
		}
		names = *p.Names
	} else {
		for _, info := range c.server.bdevs.List() {
			names = append(names, info.Name)
		}
	}
	c.later("", func() {
		if p.PerChannel {
			c.replyChannels(names[0], p.ResetMode.mode())
			return
		}
		c.replyIostat(names, p)
	})
}

// moduleNVMe is the module name of the bdevs of the host.
const moduleNVMe = "nvme"

// replyIostat answers with the statistics of the bdevs; one that has gone meanwhile is left out,
// unless it was asked for by name.
func (c *call) replyIostat(names []string, p *getIostatParams) {
	out := iostatResult{TickRate: bdev.TickRate, Ticks: c.server.ticks(), Bdevs: make([]bdevIostat, 0, len(names))}
	for _, name := range names {
		stats, err := c.server.bdevs.Stats(name, p.ResetMode.mode())
		if err != nil {
			if p.Names == nil {
				continue
			}
			c.failErr(err)
			return
		}
		info, err := c.server.bdevs.Lookup(name)
		if err != nil {
			continue
		}
		one := bdevIostat{Name: info.Name, ioCounters: newIOCounters(&stats)}
		if info.Module == moduleNVMe {
			one.DriverSpecific = &struct{}{}
		}
		out.Bdevs = append(out.Bdevs, one)
	}
	c.reply(out)
}

// replyChannels answers with the statistics of one bdev thread by thread; the poll group is the one
// thread that uses bdevs, as long as somebody has them open.
func (c *call) replyChannels(name string, mode bdev.ResetMode) {
	stats, err := c.server.bdevs.Stats(name, mode)
	if err != nil {
		c.failErr(err)
		return
	}
	info, err := c.server.bdevs.Lookup(name)
	if err != nil {
		c.failErr(err)
		return
	}
	out := channelIostatResult{
		TickRate: bdev.TickRate, Ticks: c.server.ticks(), Name: info.Name, Channels: []channelIostat{},
	}
	if info.Openers > 0 {
		out.Channels = append(out.Channels, channelIostat{ThreadID: pollGroupID, ioCounters: newIOCounters(&stats)})
	}
	c.reply(out)
}

type resetIostatParams struct {
	Name *string    `rpc:"name"`
	Mode *resetMode `rpc:"mode"`
}

func resetIostat(_ context.Context, c *call, p *resetIostatParams) {
	mode := bdev.ResetAll
	if p.Mode != nil {
		mode = p.Mode.mode()
	}
	if mode == bdev.ResetNone {
		c.later("", func() { c.reply(true) })
		return
	}
	var names []string
	if p.Name != nil {
		if _, err := c.server.bdevs.Lookup(*p.Name); err != nil {
			c.failErr(err)
			return
		}
		names = append(names, *p.Name)
	} else {
		for _, info := range c.server.bdevs.List() {
			names = append(names, info.Name)
		}
	}
	c.later("", func() {
		for _, name := range names {
			if _, err := c.server.bdevs.Stats(name, mode); err != nil && p.Name != nil {
				c.failErr(err)
				return
			}
		}
		c.reply(true)
	})
}

// ticks is the time since the process began, in ticks.
func (s *Server) ticks() uint64 {
	return bdev.Ticks()
}
