// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"math"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

func qosMethods() []method {
	return []method{taking("bdev_set_qos_limit", refusedInternal, setQosLimit)}
}

// notDefined is a limit that is not given; it can be said too.
const notDefined = math.MaxUint64

// The units of limits, and the largest that SPDK knows.
const (
	qosIOPSUnit   = 1000
	bytesPerMiB   = 1 << 20
	maxQosMbytes  = math.MaxUint64 / bytesPerMiB
	maxQosIOPS    = math.MaxUint64 / qosIOPSUnit * qosIOPSUnit
	qosUnfinished = "Failed to configure rate limit: "
)

type setQosLimitParams struct {
	Name           string  `rpc:"name,required"`
	RwIosPerSec    *uint64 `rpc:"rw_ios_per_sec"`
	RwMbytesPerSec *uint64 `rpc:"rw_mbytes_per_sec"`
	RMbytesPerSec  *uint64 `rpc:"r_mbytes_per_sec"`
	WMbytesPerSec  *uint64 `rpc:"w_mbytes_per_sec"`
}

// change changes the limits that are given, and reports whether any is.
func (p *setQosLimitParams) change(l *bdev.Limits) bool {
	given := false
	if n := valueOr(p.RwIosPerSec, notDefined); n != notDefined {
		given = true
		l.IOPS = maxQosIOPS
		if n <= maxQosIOPS {
			l.IOPS = (n + qosIOPSUnit - 1) / qosIOPSUnit * qosIOPSUnit
		}
	}
	for _, b := range []struct {
		given *uint64
		limit *uint64
	}{{p.RwMbytesPerSec, &l.Bytes}, {p.RMbytesPerSec, &l.ReadBytes}, {p.WMbytesPerSec, &l.WriteBytes}} {
		if n := valueOr(b.given, notDefined); n != notDefined {
			given = true
			*b.limit = min(n, maxQosMbytes) * bytesPerMiB
		}
	}
	return given
}

// setQosLimit changes limits of a bdev. On one that has limits and that nobody uses SPDK fails, since
// v25.09, because the call itself, by opening the bdev, begins to put the old limits into force.
func setQosLimit(_ context.Context, c *call, p *setQosLimitParams) {
	info, err := c.server.bdevs.Lookup(p.Name)
	if err != nil {
		c.failErr(err)
		return
	}
	if !p.change(new(bdev.Limits)) {
		c.fail(-int(syscall.EINVAL), "No rate limits specified")
		return
	}
	c.later("limits "+info.Name, func() {
		info, err := c.server.bdevs.Lookup(info.Name)
		if err != nil {
			c.failErr(err)
			return
		}
		limits := info.Limits
		if c.server.manners.idleLimitsTrap && limits != (bdev.Limits{}) && !c.server.inUse(info) {
			c.fail(jsonrpc.CodeInvalidParams, qosUnfinished+strerror(syscall.EAGAIN))
			return
		}
		p.change(&limits)
		if err := c.server.bdevs.SetLimits(info.Name, limits); err != nil {
			c.failErr(err)
			return
		}
		c.reply(true)
	})
}

// inUse says whether somebody has what SPDK calls an I/O channel to a bdev. All who open one do at
// once, except crypto bdevs, which do when they are used themselves, and vhost controllers, which do
// when a virtual machine is there.
func (s *Server) inUse(info *bdev.Info) bool {
	users := info.Openers
	if name, ok := bdev.CryptoOn(info); ok {
		if above, err := s.bdevs.Lookup(name); err == nil && !s.inUse(above) {
			users--
		}
	}
	return users-s.vhost.idleUsers(info.Name) > 0
}

// newRateLimits shows limits in SPDK's units.
func newRateLimits(l bdev.Limits) rateLimits {
	return rateLimits{
		RwIosPerSec: l.IOPS, RwMbytesPerSec: l.Bytes / bytesPerMiB,
		RMbytesPerSec: l.ReadBytes / bytesPerMiB, WMbytesPerSec: l.WriteBytes / bytesPerMiB,
	}
}

type qosConfigParams struct {
	Name           string `json:"name"`
	RwIosPerSec    uint64 `json:"rw_ios_per_sec,omitempty"`
	RwMbytesPerSec uint64 `json:"rw_mbytes_per_sec,omitempty"`
	RMbytesPerSec  uint64 `json:"r_mbytes_per_sec,omitempty"`
	WMbytesPerSec  uint64 `json:"w_mbytes_per_sec,omitempty"`
}

// qosConfig lists the calls that would set the limits anew.
func qosConfig(infos []*bdev.Info) []configEntry {
	var out []configEntry
	for _, info := range infos {
		if info.Limits == (bdev.Limits{}) {
			continue
		}
		l := newRateLimits(info.Limits)
		out = append(out, configEntry{Method: "bdev_set_qos_limit", Params: qosConfigParams{
			Name: info.Name, RwIosPerSec: l.RwIosPerSec, RwMbytesPerSec: l.RwMbytesPerSec,
			RMbytesPerSec: l.RMbytesPerSec, WMbytesPerSec: l.WMbytesPerSec,
		}})
	}
	return out
}
