// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"reflect"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// timeoutAction is what SPDK does about commands that take too long.
type timeoutAction string

func (timeoutAction) words() []string { return []string{"none", "reset", "abort"} }

type dhchapDigest string

func (dhchapDigest) words() []string { return []string{"sha256", "sha384", "sha512"} }

type dhchapGroup string

func (dhchapGroup) words() []string {
	return []string{"null", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"}
}

type multipathPolicy string

func (multipathPolicy) words() []string {
	return []string{string(host.ActivePassive), string(host.ActiveActive)}
}

type multipathSelector string

func (multipathSelector) words() []string {
	return []string{string(host.RoundRobin), string(host.QueueDepth)}
}

// multipathOptions is a multipath policy in parameters and answers.
type multipathOptions struct {
	Policy   *multipathPolicy   `rpc:"policy" json:"policy,omitempty"`
	Selector *multipathSelector `rpc:"selector" json:"selector,omitempty"`
	MinIO    *uint32            `rpc:"min_io" json:"min_io,omitempty"`
}

// multipath is the policy, over what holds when nothing is given.
func (o *multipathOptions) multipath(usual host.Multipath) host.Multipath {
	if o == nil {
		return usual
	}
	m := host.Multipath{Policy: usual.Policy, MinIO: host.MinIOUnset}
	if o.Policy != nil {
		m.Policy = host.Policy(*o.Policy)
	}
	if o.Selector != nil {
		m.Selector = host.Selector(*o.Selector)
	}
	if o.MinIO != nil {
		m.MinIO = *o.MinIO
	}
	return m
}

// nvmeOptions are the options of the host, as they are set and shown. Those with the tag fixed
// belong to parts of SPDK that have no counterpart here: they keep their defaults. (transport_retry_count is
// for RDMA and PCIe; SPDK takes it for paths over TCP too, which do not go by it there either.)
type nvmeOptions struct {
	ActionOnTimeout      timeoutAction    `rpc:"action_on_timeout" json:"action_on_timeout" fixed:"yes"`
	TimeoutUS            uint64           `rpc:"timeout_us" json:"timeout_us" fixed:"yes"`
	TimeoutAdminUS       uint64           `rpc:"timeout_admin_us" json:"timeout_admin_us" fixed:"yes"`
	KeepAliveTimeoutMS   uint32           `rpc:"keep_alive_timeout_ms" json:"keep_alive_timeout_ms"`
	ArbitrationBurst     uint32           `rpc:"arbitration_burst" json:"arbitration_burst" fixed:"yes"`
	LowPriorityWeight    uint32           `rpc:"low_priority_weight" json:"low_priority_weight" fixed:"yes"`
	MediumPriorityWeight uint32           `rpc:"medium_priority_weight" json:"medium_priority_weight" fixed:"yes"`
	HighPriorityWeight   uint32           `rpc:"high_priority_weight" json:"high_priority_weight" fixed:"yes"`
	AdminqPollPeriodUS   uint64           `rpc:"nvme_adminq_poll_period_us" json:"nvme_adminq_poll_period_us" fixed:"yes"`
	IoqPollPeriodUS      uint64           `rpc:"nvme_ioq_poll_period_us" json:"nvme_ioq_poll_period_us" fixed:"yes"`
	IOQueueRequests      uint32           `rpc:"io_queue_requests" json:"io_queue_requests" fixed:"yes"`
	DelayCmdSubmit       bool             `rpc:"delay_cmd_submit" json:"delay_cmd_submit" fixed:"yes"`
	TransportRetryCount  uint32           `rpc:"transport_retry_count" json:"transport_retry_count"`
	BdevRetryCount       int32            `rpc:"bdev_retry_count" json:"bdev_retry_count"`
	TransportAckTimeout  uint8            `rpc:"transport_ack_timeout" json:"transport_ack_timeout"`
	CtrlrLossTimeoutSec  int32            `rpc:"ctrlr_loss_timeout_sec" json:"ctrlr_loss_timeout_sec"`
	ReconnectDelaySec    uint32           `rpc:"reconnect_delay_sec" json:"reconnect_delay_sec"`
	FastIOFailTimeoutSec uint32           `rpc:"fast_io_fail_timeout_sec" json:"fast_io_fail_timeout_sec"`
	DisableAutoFailback  bool             `rpc:"disable_auto_failback" json:"disable_auto_failback"`
	GenerateUUIDs        bool             `rpc:"generate_uuids" json:"generate_uuids"`
	TransportTos         uint8            `rpc:"transport_tos" json:"transport_tos" fixed:"yes"`
	NvmeErrorStat        bool             `rpc:"nvme_error_stat" json:"nvme_error_stat" fixed:"yes"`
	RdmaSrqSize          uint32           `rpc:"rdma_srq_size" json:"rdma_srq_size" fixed:"yes"`
	IOPathStat           bool             `rpc:"io_path_stat" json:"io_path_stat"`
	AllowAccelSequence   bool             `rpc:"allow_accel_sequence" json:"allow_accel_sequence" fixed:"yes"`
	RdmaMaxCqSize        uint32           `rpc:"rdma_max_cq_size" json:"rdma_max_cq_size" fixed:"yes"`
	RdmaCmEventTimeoutMS uint16           `rpc:"rdma_cm_event_timeout_ms" json:"rdma_cm_event_timeout_ms" fixed:"yes"`
	DHCHAPDigests        []dhchapDigest   `rpc:"dhchap_digests" json:"dhchap_digests" fixed:"yes"`
	DHCHAPGroups         []dhchapGroup    `rpc:"dhchap_dhgroups" json:"dhchap_dhgroups" fixed:"yes"`
	RdmaUmrPerIO         bool             `rpc:"rdma_umr_per_io" json:"rdma_umr_per_io" fixed:"yes"`
	TCPConnectTimeoutMS  uint32           `rpc:"tcp_connect_timeout_ms" json:"tcp_connect_timeout_ms"`
	EnableFlush          bool             `rpc:"enable_flush" json:"enable_flush" fixed:"yes"`
	MultipathOpts        multipathOptions `rpc:"multipath_opts" json:"multipath_opts"`
}

// The defaults that are not zero.
const (
	defaultKeepAliveMS      = 10000
	defaultAdminqPollUS     = 10000
	defaultTransportRetries = 4
	defaultBdevRetries      = 3
	// attachedQueueRequests is what io_queue_requests becomes when the first controller is attached.
	attachedQueueRequests = 512
)

func defaultNvmeOptions() nvmeOptions {
	policy := multipathPolicy(host.ActivePassive)
	o := nvmeOptions{
		ActionOnTimeout: "none", KeepAliveTimeoutMS: defaultKeepAliveMS, AdminqPollPeriodUS: defaultAdminqPollUS,
		DelayCmdSubmit: true, TransportRetryCount: defaultTransportRetries, BdevRetryCount: defaultBdevRetries,
		MultipathOpts: multipathOptions{Policy: &policy},
	}
	for _, digest := range dhchapDigest("").words() {
		o.DHCHAPDigests = append(o.DHCHAPDigests, dhchapDigest(digest))
	}
	for _, group := range dhchapGroup("").words() {
		o.DHCHAPGroups = append(o.DHCHAPGroups, dhchapGroup(group))
	}
	return o
}

// host turns the options into those of the host.
func (o *nvmeOptions) host() host.Options {
	return host.Options{
		KeepAliveTimeout: time.Duration(o.KeepAliveTimeoutMS) * time.Millisecond,
		BdevRetryCount:   o.BdevRetryCount,
		Recovery: host.Recovery{
			LossTimeoutSec: o.CtrlrLossTimeoutSec, ReconnectDelaySec: o.ReconnectDelaySec,
			FastIOFailSec: o.FastIOFailTimeoutSec,
		},
		ConnectTimeout:      time.Duration(o.TCPConnectTimeoutMS) * time.Millisecond,
		AckTimeout:          ackTimeout(o.TransportAckTimeout),
		IOPathStat:          o.IOPathStat,
		DisableAutoFailback: o.DisableAutoFailback,
		GenerateUUIDs:       o.GenerateUUIDs,
		Multipath:           o.MultipathOpts.multipath(host.DefaultOptions().Multipath),
	}
}

// ackTimeout is 2^exponent milliseconds; SPDK takes no exponent above 31, and 0 is the system's own.
func ackTimeout(exponent uint8) time.Duration {
	if exponent == 0 {
		return 0
	}
	return time.Duration(1<<min(exponent, 31)) * time.Millisecond
}

// fixedChanged names an option that cannot be changed and was, or is "".
func (o *nvmeOptions) fixedChanged() string {
	asked := *o
	if asked.IOQueueRequests == attachedQueueRequests { // what a saved configuration says
		asked.IOQueueRequests = 0
	}
	now, usual := reflect.ValueOf(asked), reflect.ValueOf(defaultNvmeOptions())
	for i := range now.NumField() {
		field := now.Type().Field(i)
		if field.Tag.Get("fixed") != "" && !reflect.DeepEqual(now.Field(i).Interface(), usual.Field(i).Interface()) {
			return field.Tag.Get("rpc")
		}
	}
	return ""
}

func nvmeOptionsMethods() []method {
	p := newPlan(reflect.TypeFor[nvmeOptions]())
	return []method{{
		name: "bdev_nvme_set_options", refusal: refusedInternal, plan: p, optional: true,
		run: func(_ context.Context, c *call) {
			// What is not given stays as it is.
			o := c.server.options
			if c.read(p, reflect.ValueOf(&o).Elem()) {
				setNvmeOptions(c, &o)
			}
		},
	}}
}

func setNvmeOptions(c *call, o *nvmeOptions) {
	if o.TimeoutUS == 0 && o.TimeoutAdminUS > 0 {
		c.failErrno(syscall.EINVAL)
		return
	}
	if name := o.fixedChanged(); name != "" {
		c.fail(-int(syscall.EINVAL), fmt.Sprintf("%s cannot be set: opi-dataplane has no such option", name))
		return
	}
	if err := c.server.host.SetOptions(o.host()); err != nil {
		c.failHost(err)
		return
	}
	c.server.options = *o
	c.reply(true)
}
