// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

func nvmePathMethods() []method {
	return []method{
		taking("bdev_nvme_get_io_paths", refusedAny("bdev_nvme_get_io_paths requires no parameters"), getIOPaths).maybe(),
		taking("bdev_nvme_set_preferred_path", refusedInternal, setPreferredPath),
		taking("bdev_nvme_set_multipath_policy", refusedInternal, setMultipathPolicy),
		taking("bdev_nvme_get_path_iostat", refusedInternal, getPathIostat),
	}
}

type getIOPathsParams struct {
	Name *string `rpc:"name"`
}

type ioPathsResult struct {
	PollGroups []ioPathGroup `json:"poll_groups"`
}

type ioPathGroup struct {
	Thread  string         `json:"thread"`
	IOPaths []ioPathResult `json:"io_paths"`
}

type ioPathResult struct {
	BdevName   string          `json:"bdev_name"`
	Cntlid     uint16          `json:"cntlid"`
	Current    bool            `json:"current"`
	Connected  bool            `json:"connected"`
	Accessible bool            `json:"accessible"`
	Transport  ioPathTransport `json:"transport"`
}

type ioPathTransport struct {
	Trtype  string `json:"trtype"`
	Traddr  string `json:"traddr"`
	Trsvcid string `json:"trsvcid"`
	Adrfam  string `json:"adrfam"`
}

func getIOPaths(_ context.Context, c *call, p *getIOPathsParams) {
	c.later("", func() {
		out := ioPathsResult{PollGroups: []ioPathGroup{}}
		group := ioPathGroup{Thread: pollGroup}
		for _, path := range c.server.host.IOPaths(valueOr(p.Name, "")) {
			group.IOPaths = append(group.IOPaths, ioPathResult{
				BdevName: path.Bdev, Cntlid: path.CNTLID,
				Current: path.Current, Connected: path.Connected, Accessible: path.Accessible,
				Transport: ioPathTransport{
					Trtype: path.Trid.Trtype, Traddr: path.Trid.Traddr, Trsvcid: path.Trid.Trsvcid, Adrfam: path.Trid.Adrfam,
				},
			})
		}
		if len(group.IOPaths) > 0 {
			out.PollGroups = append(out.PollGroups, group)
		}
		c.reply(out)
	})
}

type setPreferredPathParams struct {
	Name   string `rpc:"name,required"`
	Cntlid uint16 `rpc:"cntlid,required"`
}

func setPreferredPath(_ context.Context, c *call, p *setPreferredPathParams) {
	c.later("", func() { c.doneHost(c.server.host.SetPreferredPath(p.Name, p.Cntlid)) })
}

type setMultipathPolicyParams struct {
	Name     string             `rpc:"name,required"`
	Policy   multipathPolicy    `rpc:"policy,required"`
	Selector *multipathSelector `rpc:"selector"`
	RRMinIO  *uint32            `rpc:"rr_min_io"`
}

func setMultipathPolicy(_ context.Context, c *call, p *setMultipathPolicyParams) {
	if p.Selector != nil && host.Policy(p.Policy) != host.ActiveActive {
		c.refuse()
		return
	}
	if p.RRMinIO != nil && *p.RRMinIO == 0 {
		c.failErrno(syscall.EINVAL)
		return
	}
	policy := host.Multipath{
		Policy: host.Policy(p.Policy), Selector: host.Selector(valueOr(p.Selector, "")),
		MinIO: valueOr(p.RRMinIO, host.MinIOUnset),
	}
	c.later("", func() { c.doneHost(c.server.host.SetMultipathPolicy(p.Name, policy)) })
}

type pathIostatResult struct {
	Name  string     `json:"name"`
	Stats []pathStat `json:"stats"`
}

type pathStat struct {
	Trid host.TransportID `json:"trid"`
	Stat ioCounters       `json:"stat"`
}

func getPathIostat(_ context.Context, c *call, p *nameParams) {
	c.later("", func() {
		stats, err := c.server.host.PathStats(p.Name)
		if err != nil {
			c.failHost(err)
			return
		}
		out := pathIostatResult{Name: p.Name, Stats: make([]pathStat, 0, len(stats))}
		for i := range stats {
			counters := newIOCounters(&stats[i].Stats)
			counters.IOError = nil // errors are not counted by path
			out.Stats = append(out.Stats, pathStat{Trid: stats[i].Trid, Stat: counters})
		}
		c.reply(out)
	})
}
