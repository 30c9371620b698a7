// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

func nvmeAttachMethods() []method {
	return []method{
		taking("bdev_nvme_attach_controller", refusedInternal, attachController),
		taking("bdev_nvme_detach_controller", refusedInternal, detachController),
	}
}

// multipathMode says what a further path under one name is.
type multipathMode string

func (multipathMode) words() []string { return []string{"failover", "multipath", "disable"} }

type attachParams struct {
	Name                    string            `rpc:"name,required"`
	Trtype                  string            `rpc:"trtype,required"`
	Traddr                  string            `rpc:"traddr,required"`
	Adrfam                  *string           `rpc:"adrfam"`
	Trsvcid                 *string           `rpc:"trsvcid"`
	Priority                *string           `rpc:"priority"`
	Subnqn                  *string           `rpc:"subnqn"`
	Hostnqn                 *string           `rpc:"hostnqn"`
	Hostaddr                *string           `rpc:"hostaddr"`
	Hostsvcid               *string           `rpc:"hostsvcid"`
	PrchkReftag             bool              `rpc:"prchk_reftag"`
	PrchkGuard              bool              `rpc:"prchk_guard"`
	Hdgst                   bool              `rpc:"hdgst"`
	Ddgst                   bool              `rpc:"ddgst"`
	FabricsConnectTimeoutUS *uint64           `rpc:"fabrics_connect_timeout_us"`
	Multipath               *multipathMode    `rpc:"multipath"`
	NumIOQueues             *uint32           `rpc:"num_io_queues"`
	CtrlrLossTimeoutSec     *int32            `rpc:"ctrlr_loss_timeout_sec"`
	ReconnectDelaySec       *uint32           `rpc:"reconnect_delay_sec"`
	FastIOFailTimeoutSec    *uint32           `rpc:"fast_io_fail_timeout_sec"`
	PSK                     *string           `rpc:"psk"`
	MaxBdevs                *uint32           `rpc:"max_bdevs"`
	DHCHAPKey               *string           `rpc:"dhchap_key"`
	DHCHAPCtrlrKey          *string           `rpc:"dhchap_ctrlr_key"`
	AllowUnrecognizedCSI    bool              `rpc:"allow_unrecognized_csi"`
	MultipathOpts           *multipathOptions `rpc:"multipath_opts"`
	DisableSQFlowControl    bool              `rpc:"disable_sq_flow_control"`
}

// unsupported names the first parameter that asks for something our host does not do.
func (p *attachParams) unsupported() string {
	switch {
	case p.Priority != nil:
		return "priority"
	case p.PrchkReftag:
		return "prchk_reftag"
	case p.PrchkGuard:
		return "prchk_guard"
	case p.AllowUnrecognizedCSI:
		return "allow_unrecognized_csi"
	default:
		return ""
	}
}

// options are what the host is asked for, over its own defaults.
func (p *attachParams) options(usual host.AttachOptions) host.AttachOptions {
	o := usual
	o.Name = p.Name
	o.Trid = host.TransportID{
		Trtype: p.Trtype, Adrfam: valueOr(p.Adrfam, ""), Traddr: p.Traddr, Trsvcid: valueOr(p.Trsvcid, ""),
		Subnqn: valueOr(p.Subnqn, ""),
	}
	o.HostNQN, o.HostAddr, o.HostSvcID = valueOr(p.Hostnqn, ""), valueOr(p.Hostaddr, ""), valueOr(p.Hostsvcid, "")
	o.HeaderDigest, o.DataDigest, o.NoSQFlowControl = p.Hdgst, p.Ddgst, p.DisableSQFlowControl
	o.Mode = host.Mode(valueOr(p.Multipath, multipathMode(usual.Mode)))
	o.IOQueues = valueOr(p.NumIOQueues, usual.IOQueues)
	o.MaxBdevs = valueOr(p.MaxBdevs, usual.MaxBdevs)
	o.Recovery = host.Recovery{
		LossTimeoutSec:    valueOr(p.CtrlrLossTimeoutSec, usual.Recovery.LossTimeoutSec),
		ReconnectDelaySec: valueOr(p.ReconnectDelaySec, usual.Recovery.ReconnectDelaySec),
		FastIOFailSec:     valueOr(p.FastIOFailTimeoutSec, usual.Recovery.FastIOFailSec),
	}
	o.Multipath = p.MultipathOpts.multipath(usual.Multipath)
	if p.FabricsConnectTimeoutUS != nil {
		const longest = uint64(1<<63-1) / uint64(time.Microsecond)
		o.ConnectTimeout = time.Duration(min(*p.FabricsConnectTimeoutUS, longest)) * time.Microsecond
	}
	return o
}

// attachController answers about keys that do not exist or cannot be used as SPDK does.
func attachController(ctx context.Context, c *call, p *attachParams) {
	switch s := c.server; {
	case s.keyKnown(p.DHCHAPKey), s.keyKnown(p.DHCHAPCtrlrKey):
		c.fail(-int(syscall.EOPNOTSUPP), noDHCHAP)
		return
	case p.DHCHAPKey != nil, p.DHCHAPCtrlrKey != nil:
		c.noKey()
		return
	}
	var key *fileKey
	if p.PSK != nil {
		if key = c.server.pskOf(*p.PSK); key == nil {
			c.noKey()
			return
		}
	}
	if name := p.unsupported(); name != "" {
		c.fail(-int(syscall.EINVAL), fmt.Sprintf("%s cannot be used: opi-dataplane has no such option", name))
		return
	}
	c.later("", func() {
		usual := c.server.host.AttachDefaults()
		usual.Mode = c.server.manners.multipath
		o := p.options(usual)
		if key != nil {
			o.Key = key.load
		}
		c.server.attached.prune(c.server.host)
		names, err := c.server.host.Attach(ctx, o)
		if err == nil || errnoOf(err) == syscall.ERANGE {
			c.server.attached.note(c.server.host, &o, key)
		}
		if err != nil {
			c.failHost(err)
			return
		}
		if names == nil {
			names = []string{}
		}
		c.reply(names)
	})
}

type detachParams struct {
	Name      string  `rpc:"name,required"`
	Trtype    *string `rpc:"trtype"`
	Traddr    *string `rpc:"traddr"`
	Adrfam    *string `rpc:"adrfam"`
	Trsvcid   *string `rpc:"trsvcid"`
	Subnqn    *string `rpc:"subnqn"`
	Hostaddr  *string `rpc:"hostaddr"`
	Hostsvcid *string `rpc:"hostsvcid"`
}

func detachController(ctx context.Context, c *call, p *detachParams) {
	filter := host.DetachFilter{
		Name: p.Name, HostAddr: valueOr(p.Hostaddr, ""), HostSvcID: valueOr(p.Hostsvcid, ""),
		Trid: host.TransportID{
			Trtype: valueOr(p.Trtype, ""), Adrfam: valueOr(p.Adrfam, ""), Traddr: valueOr(p.Traddr, ""),
			Trsvcid: valueOr(p.Trsvcid, ""), Subnqn: valueOr(p.Subnqn, ""),
		},
	}
	c.later("", func() { c.doneHost(c.server.host.Detach(ctx, filter)) })
}
