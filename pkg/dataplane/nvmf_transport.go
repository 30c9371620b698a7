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

// createTransportParams has what takes effect, and further what SPDK takes. Those from zcopy to
// acceptor_poll_rate say how SPDK's pools and pollers are to be laid out, or are about commands that a
// target passes on: here memory comes from the garbage collector, connections are noticed and aborts
// answered at once, and nothing is passed on. What of that SPDK shows, is shown. The last ones belong to
// RDMA and vfio-user; SPDK reads them for every transport, and its TCP transport goes by none of them.
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
	SockPriority           uint32  `rpc:"sock_priority"`
	AckTimeout             uint32  `rpc:"ack_timeout"`
	DifInsertOrStrip       bool    `rpc:"dif_insert_or_strip"`
	Zcopy                  bool    `rpc:"zcopy"`
	IOBufSmallCacheSize    *uint32 `rpc:"iobuf_small_cache_size"`
	IOBufLargeCacheSize    *uint32 `rpc:"iobuf_large_cache_size"`
	AbortTimeoutSec        *uint32 `rpc:"abort_timeout_sec"`
	DataWrPoolSize         uint32  `rpc:"data_wr_pool_size"`
	DisableCommandPassthru bool    `rpc:"disable_command_passthru"`
	IOUnitSize             *uint32 `rpc:"io_unit_size"`
	NumSharedBuffers       *uint32 `rpc:"num_shared_buffers"`
	BufCacheSize           uint32  `rpc:"buf_cache_size"`
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

// shownOptions are those that only come back in answers. (disable_command_passthru does not: SPDK shows
// false whatever was asked for.)
type shownOptions struct {
	smallCache, largeCache, abortTimeoutSec, dataWrPoolSize uint32
	zcopy                                                   bool
}

func (p *createTransportParams) shown() shownOptions {
	o := shownOptions{
		smallCache: valueOr(p.IOBufSmallCacheSize, math.MaxUint32), largeCache: valueOr(p.IOBufLargeCacheSize, math.MaxUint32),
		abortTimeoutSec: valueOr(p.AbortTimeoutSec, defaultAbortTimeoutSec), dataWrPoolSize: p.DataWrPoolSize,
		zcopy: p.Zcopy,
	}
	if p.BufCacheSize != 0 { // the former name
		o.smallCache = p.BufCacheSize
	}
	return o
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
	if p.DifInsertOrStrip {
		c.fail(jsonrpc.CodeInvalidParams, "dif_insert_or_strip cannot be set: opi-dataplane has no protection information")
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
		SocketPriority: p.SockPriority, AckTimeoutMillis: p.AckTimeout,
	})
	if err == nil {
		shown := p.shown()
		c.server.nvmf.shown.Store(&shown)
	}
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
	var shown shownOptions
	if s := n.shown.Load(); s != nil {
		shown = *s
	}
	return []transportResult{{
		Trtype: trtypeTCP, MaxQueueDepth: o.MaxQueueDepth, MaxIOQpairsPerCtrlr: o.MaxIOQpairsPerController,
		InCapsuleDataSize: o.InCapsuleDataSizeBytes, MaxIOSize: o.MaxIOSizeBytes, MaxAQDepth: o.MaxAQDepth,
		IOBufSmallCacheSize: shown.smallCache, IOBufLargeCacheSize: shown.largeCache, Zcopy: shown.zcopy, C2HSuccess: !o.NoC2HSuccess,
		SockPriority: o.SocketPriority, AckTimeout: o.AckTimeoutMillis, AbortTimeoutSec: shown.abortTimeoutSec,
		DataWrPoolSize: shown.dataWrPoolSize, KAS: o.KAS, MinKATO: o.MinKATOMillis,
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
