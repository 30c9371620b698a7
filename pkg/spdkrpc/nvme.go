// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import "context"

// Trid is a transport id as SPDK tells it.
type Trid struct {
	Trtype  string `json:"trtype"`
	Adrfam  string `json:"adrfam"`
	Traddr  string `json:"traddr"`
	Trsvcid string `json:"trsvcid"`
	Subnqn  string `json:"subnqn"`
}

// NvmeSetOptions are parameters of bdev_nvme_set_options, which is refused with CodePerm while any
// controller is attached. What is nil stays as it is.
type NvmeSetOptions struct {
	// BdevRetryCount is how often an I/O is tried again, -1 for ever.
	BdevRetryCount *int32 `json:"bdev_retry_count,omitempty"`
	// CtrlrLossTimeoutSec is after how long without connection a controller goes, -1 never.
	CtrlrLossTimeoutSec *int32 `json:"ctrlr_loss_timeout_sec,omitempty"`
	// ReconnectDelaySec is the pause between two attempts to reconnect.
	ReconnectDelaySec *uint32 `json:"reconnect_delay_sec,omitempty"`
	// FastIOFailTimeoutSec is after how long without connection I/O fails, 0 never.
	FastIOFailTimeoutSec *uint32 `json:"fast_io_fail_timeout_sec,omitempty"`
	// TransportAckTimeout is an exponent of two: for TCP of milliseconds, for RDMA of 4.096 µs.
	TransportAckTimeout *uint8 `json:"transport_ack_timeout,omitempty"`
	// TransportRetryCount is how often an RDMA adapter tries again, up to 7.
	TransportRetryCount *uint32 `json:"transport_retry_count,omitempty"`
	// IOPathStat turns the counters of paths on.
	IOPathStat *bool `json:"io_path_stat,omitempty"`
	// TCPConnectTimeoutMs bounds a TCP connect; see Features.TCPConnectTimeout.
	TCPConnectTimeoutMs *uint64 `json:"tcp_connect_timeout_ms,omitempty"`
}

// Do makes the call.
func (p NvmeSetOptions) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_nvme_set_options", p, nil)
}

// NvmeAttach are parameters of bdev_nvme_attach_controller. For TCP all of Trtype, Adrfam, Traddr,
// Trsvcid and Subnqn are needed in practice.
type NvmeAttach struct {
	Name    string `json:"name"`
	Trtype  string `json:"trtype"`
	Traddr  string `json:"traddr"`
	Adrfam  string `json:"adrfam,omitempty"`
	Trsvcid string `json:"trsvcid,omitempty"`
	Subnqn  string `json:"subnqn,omitempty"`
	Hostnqn string `json:"hostnqn,omitempty"`
	// Hostaddr and Hostsvcid are our end.
	Hostaddr  string `json:"hostaddr,omitempty"`
	Hostsvcid string `json:"hostsvcid,omitempty"`
	Hdgst     bool   `json:"hdgst,omitempty"`
	Ddgst     bool   `json:"ddgst,omitempty"`
	// Multipath is "multipath", "failover" or "disable". Always name it: the default has changed.
	Multipath            string `json:"multipath"`
	NumIOQueues          uint32 `json:"num_io_queues,omitempty"`
	CtrlrLossTimeoutSec  int32  `json:"ctrlr_loss_timeout_sec"`
	ReconnectDelaySec    uint32 `json:"reconnect_delay_sec"`
	FastIOFailTimeoutSec uint32 `json:"fast_io_fail_timeout_sec"`
	// Psk names the key for TLS, see Features.Keyring.
	Psk string `json:"psk,omitempty"`
	// MaxBdevs bounds the namespaces; 0 is 128.
	MaxBdevs uint32 `json:"max_bdevs,omitempty"`
}

// Do makes the call. It returns the names of the bdevs that came, which may be none.
func (p NvmeAttach) Do(ctx context.Context, c Caller) ([]string, error) {
	return get[[]string](ctx, c, "bdev_nvme_attach_controller", p)
}

// NvmeDetach are parameters of bdev_nvme_detach_controller. What is given selects paths.
type NvmeDetach struct {
	Name    string `json:"name"`
	Trtype  string `json:"trtype,omitempty"`
	Traddr  string `json:"traddr,omitempty"`
	Adrfam  string `json:"adrfam,omitempty"`
	Trsvcid string `json:"trsvcid,omitempty"`
	Subnqn  string `json:"subnqn,omitempty"`
}

// Do makes the call. The answer comes when the paths are gone.
func (p NvmeDetach) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_nvme_detach_controller", p, nil)
}

// NvmeController is an element of bdev_nvme_get_controllers: a name with its paths.
type NvmeController struct {
	Name   string      `json:"name"`
	Ctrlrs []NvmeCtrlr `json:"ctrlrs"`
}

// NvmeCtrlr is one connection of a controller.
type NvmeCtrlr struct {
	State          string `json:"state"`
	Trid           Trid   `json:"trid"`
	AlternateTrids []Trid `json:"alternate_trids"`
	Cntlid         uint16 `json:"cntlid"`
	Host           struct {
		NQN   string `json:"nqn"`
		Addr  string `json:"addr"`
		Svcid string `json:"svcid"`
	} `json:"host"`
}

// GetNvmeControllers returns all controllers that are attached (bdev_nvme_get_controllers).
func GetNvmeControllers(ctx context.Context, c Caller) ([]NvmeController, error) {
	return get[[]NvmeController](ctx, c, "bdev_nvme_get_controllers", nil)
}

// GetNvmeController returns the controller of that name (bdev_nvme_get_controllers); CodeInvalid if there
// is none.
func GetNvmeController(ctx context.Context, c Caller, name string) ([]NvmeController, error) {
	return get[[]NvmeController](ctx, c, "bdev_nvme_get_controllers", named{name})
}

// NvmeResetController disconnects and reconnects all paths (bdev_nvme_reset_controller).
func NvmeResetController(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "bdev_nvme_reset_controller", named{name}, nil)
}
