// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"math"
	"strings"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func transportMethods() []method {
	return []method{
		taking("nvmf_create_transport", refusedParams, createTransport).lenient(),
		taking("nvmf_get_transports", refusedParams, getTransports).maybe(),
	}
}

// createTransportParams has what takes effect, and further what SPDK knows and our transport has no
// use for: those must be what SPDK takes when they are absent. The last ones belong to RDMA and
// vfio-user; SPDK reads them for every transport, and its TCP transport goes by none of them.
type createTransportParams struct {
	Trtype                 string  `rpc:"trtype,required"`
	TgtName                *string `rpc:"tgt_name"`
	MaxQueueDepth          uint16  `rpc:"max_queue_depth"`
	MaxIOQpairsPerCtrlr    uint16  `rpc:"max_io_qpairs_per_ctrlr"`
	InCapsuleDataSize      uint32  `rpc:"in_capsule_data_size"`
	MaxIOSize              uint32  `rpc:"max_io_size"`
	MaxAQDepth             uint32  `rpc:"max_aq_depth"`
	C2HSuccess             *bool   `rpc:"c2h_success"`
	KAS                    uint16  `rpc:"kas"`
	MinKATO                uint32  `rpc:"min_kato"`
	IOBufSmallCacheSize    *uint32 `rpc:"iobuf_small_cache_size"`
	IOBufLargeCacheSize    *uint32 `rpc:"iobuf_large_cache_size"`
	Zcopy                  bool    `rpc:"zcopy"`
	DifInsertOrStrip       bool    `rpc:"dif_insert_or_strip"`
	SockPriority           uint32  `rpc:"sock_priority"`
	AbortTimeoutSec        *uint32 `rpc:"abort_timeout_sec"`
	AckTimeout             uint32  `rpc:"ack_timeout"`
	DataWrPoolSize         uint32  `rpc:"data_wr_pool_size"`
	DisableCommandPassthru bool    `rpc:"disable_command_passthru"`
	IOUnitSize             *uint32 `rpc:"io_unit_size"`
	NumSharedBuffers       *uint32 `rpc:"num_shared_buffers"`
	BufCacheSize           *uint32 `rpc:"buf_cache_size"`
	AcceptorBacklog        *int32  `rpc:"acceptor_backlog"`
	AcceptorPollRate       *uint32 `rpc:"acceptor_poll_rate"`

	NumCqe                 *int32  `rpc:"num_cqe"`
	MaxSrqDepth            *uint32 `rpc:"max_srq_depth"`
	NoSrq                  *bool   `rpc:"no_srq"`
	NoWrBatching           *bool   `rpc:"no_wr_batching"`
	ControlMsgNum          *uint16 `rpc:"control_msg_num"`
	DisableMappableBar0    *bool   `rpc:"disable_mappable_bar0"`
	DisableAdaptiveIrq     *bool   `rpc:"disable_adaptive_irq"`
	DisableShadowDoorbells *bool   `rpc:"disable_shadow_doorbells"`
}

// defaultAbortTimeoutSec is SPDK's; our target answers aborts at once.
const defaultAbortTimeoutSec = 1

// unsupported names the first parameter that asks for something our transport does not do.
func (p *createTransportParams) unsupported() string {
	given := func(v *uint32, usual uint32) bool { return v != nil && *v != usual }
	for _, check := range []struct {
		name  string
		asked bool
	}{
		{"iobuf_small_cache_size", given(p.IOBufSmallCacheSize, math.MaxUint32)},
		{"iobuf_large_cache_size", given(p.IOBufLargeCacheSize, math.MaxUint32)},
		{"zcopy", p.Zcopy},
		{"dif_insert_or_strip", p.DifInsertOrStrip},
		{"sock_priority", p.SockPriority != 0},
		{"abort_timeout_sec", given(p.AbortTimeoutSec, defaultAbortTimeoutSec)},
		{"ack_timeout", p.AckTimeout != 0},
		{"data_wr_pool_size", p.DataWrPoolSize != 0},
		{"disable_command_passthru", p.DisableCommandPassthru},
		{"io_unit_size", p.IOUnitSize != nil},
		{"num_shared_buffers", p.NumSharedBuffers != nil},
		{"buf_cache_size", p.BufCacheSize != nil},
		{"acceptor_backlog", p.AcceptorBacklog != nil},
		{"acceptor_poll_rate", p.AcceptorPollRate != nil},
	} {
		if check.asked {
			return check.name
		}
	}
	return ""
}

// createTransport makes the transport at once, so that listeners asked for in the same write find
// it, and answers in a later turn.
func createTransport(_ context.Context, c *call, p *createTransportParams) {
	if c.noTargetShort(p.TgtName) {
		return
	}
	kind := strings.ToUpper(p.Trtype)
	if kind == trtypeTCP && c.server.lacks.modules[moduleTCP] {
		kind = ""
	}
	switch kind {
	case trtypeTCP:
	case "RDMA": // known to SPDK, which answers so on a machine without the hardware
		c.fail(jsonrpc.CodeInternalError, "Failed to create transport.")
		return
	default:
		c.fail(jsonrpc.CodeInvalidParams, fmt.Sprintf("Invalid transport type '%s'", p.Trtype))
		return
	}
	if name := p.unsupported(); name != "" {
		c.fail(jsonrpc.CodeInvalidParams, name+" cannot be set: opi-dataplane has no such option")
		return
	}
	t := c.server.nvmf.target
	if _, ok := t.Transport(); ok {
		c.fail(jsonrpc.CodeInternalError, fmt.Sprintf("Transport type '%s' already exists", p.Trtype))
		return
	}
	if p.MaxAQDepth > math.MaxUint16 {
		c.fail(jsonrpc.CodeInternalError, "Failed to create transport.")
		return
	}
	err := t.CreateTransport(target.TransportOptions{
		MaxQueueDepth: p.MaxQueueDepth, MaxIOQpairsPerController: p.MaxIOQpairsPerCtrlr,
		InCapsuleDataSizeBytes: p.InCapsuleDataSize, MaxIOSizeBytes: p.MaxIOSize, MaxAQDepth: uint16(p.MaxAQDepth),
		NoC2HSuccess: p.C2HSuccess != nil && !*p.C2HSuccess, KAS: p.KAS, MinKATOMillis: p.MinKATO,
	})
	c.later("", func() {
		if err != nil {
			c.server.cfg.Log.Warn("transport not created", "err", err)
			c.fail(jsonrpc.CodeInternalError, "Failed to create transport.")
			return
		}
		c.reply(true)
	})
}

type getTransportsParams struct {
	TgtName *string `rpc:"tgt_name"`
	Trtype  *string `rpc:"trtype"`
}

// transportResult is the transport in answers, members in SPDK's order.
type transportResult struct {
	Trtype                 string `json:"trtype"`
	MaxQueueDepth          uint16 `json:"max_queue_depth"`
	MaxIOQpairsPerCtrlr    uint16 `json:"max_io_qpairs_per_ctrlr"`
	InCapsuleDataSize      uint32 `json:"in_capsule_data_size"`
	MaxIOSize              uint32 `json:"max_io_size"`
	MaxAQDepth             uint16 `json:"max_aq_depth"`
	IOBufSmallCacheSize    uint32 `json:"iobuf_small_cache_size"`
	IOBufLargeCacheSize    uint32 `json:"iobuf_large_cache_size"`
	DifInsertOrStrip       bool   `json:"dif_insert_or_strip"`
	Zcopy                  bool   `json:"zcopy"`
	C2HSuccess             bool   `json:"c2h_success"`
	SockPriority           uint32 `json:"sock_priority"`
	AbortTimeoutSec        uint32 `json:"abort_timeout_sec"`
	AckTimeout             uint32 `json:"ack_timeout"`
	DataWrPoolSize         uint32 `json:"data_wr_pool_size"`
	DisableCommandPassthru bool   `json:"disable_command_passthru"`
	KAS                    uint16 `json:"kas"`
	MinKATO                uint32 `json:"min_kato"`
}

// transports returns the transport, if it has been created.
func (n *nvmf) transports() []transportResult {
	o, ok := n.target.Transport()
	if !ok {
		return []transportResult{}
	}
	return []transportResult{{
		Trtype: trtypeTCP, MaxQueueDepth: o.MaxQueueDepth, MaxIOQpairsPerCtrlr: o.MaxIOQpairsPerController,
		InCapsuleDataSize: o.InCapsuleDataSizeBytes, MaxIOSize: o.MaxIOSizeBytes, MaxAQDepth: o.MaxAQDepth,
		IOBufSmallCacheSize: math.MaxUint32, IOBufLargeCacheSize: math.MaxUint32, C2HSuccess: !o.NoC2HSuccess,
		AbortTimeoutSec: defaultAbortTimeoutSec, KAS: o.KAS, MinKATO: o.MinKATOMillis,
	}}
}

func getTransports(_ context.Context, c *call, p *getTransportsParams) {
	if c.noTargetShort(p.TgtName) {
		return
	}
	found := c.server.nvmf.transports()
	if p.Trtype != nil && (len(found) == 0 || !strings.EqualFold(*p.Trtype, trtypeTCP)) {
		c.failErrno(syscall.ENODEV)
		return
	}
	c.reply(found)
}
