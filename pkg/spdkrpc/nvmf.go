// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import "context"

// DiscoveryNQN is the subsystem that SPDK makes for itself.
const DiscoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"

// NvmfCreateTransport are parameters of nvmf_create_transport.
type NvmfCreateTransport struct {
	Trtype              string `json:"trtype"`
	InCapsuleDataSize   uint32 `json:"in_capsule_data_size,omitempty"` // bytes
	MaxQueueDepth       uint16 `json:"max_queue_depth,omitempty"`
	IobufSmallCacheSize uint32 `json:"iobuf_small_cache_size,omitempty"` // buffers a core; ignored by versions that lack it
	IobufLargeCacheSize uint32 `json:"iobuf_large_cache_size,omitempty"` // likewise
}

// Do makes the call. There is no way to take a transport away.
func (p NvmfCreateTransport) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_create_transport", p, nil)
}

// NvmfTransport is an element of nvmf_get_transports.
type NvmfTransport struct {
	Trtype string `json:"trtype"`
}

// GetNvmfTransports returns the transports that have been created (nvmf_get_transports).
func GetNvmfTransports(ctx context.Context, c Caller) ([]NvmfTransport, error) {
	return get[[]NvmfTransport](ctx, c, "nvmf_get_transports", nil)
}

// NvmfCreateSubsystem are parameters of nvmf_create_subsystem.
type NvmfCreateSubsystem struct {
	NQN           string `json:"nqn"`
	SerialNumber  string `json:"serial_number,omitempty"`
	ModelNumber   string `json:"model_number,omitempty"`
	MaxNamespaces uint32 `json:"max_namespaces,omitempty"`
	AllowAnyHost  bool   `json:"allow_any_host"`
	MinCntlid     uint16 `json:"min_cntlid,omitempty"`
	MaxCntlid     uint16 `json:"max_cntlid,omitempty"`
}

// Do makes the call.
func (p NvmfCreateSubsystem) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_create_subsystem", p, nil)
}

// onSubsystem is the parameter of the methods that take an NQN only.
type onSubsystem struct {
	NQN string `json:"nqn"`
}

// GetNvmfMaxSubsystems returns how many subsystems there can be, the discovery subsystem among them
// (framework_get_config, which tells everything about the target: not to be asked often); 0 if this SPDK
// does not say.
func GetNvmfMaxSubsystems(ctx context.Context, c Caller) (int, error) {
	entries, err := get[[]struct {
		Method string `json:"method"`
		Params struct {
			MaxSubsystems int `json:"max_subsystems"`
		} `json:"params"`
	}](ctx, c, "framework_get_config", named{"nvmf"})
	for _, e := range entries {
		if e.Method == "nvmf_set_max_subsystems" {
			return e.Params.MaxSubsystems, err
		}
	}
	return 0, err
}

// NvmfDeleteSubsystem deletes a subsystem with all that is in it; its hosts are cut off.
func NvmfDeleteSubsystem(ctx context.Context, c Caller, nqn string) error {
	return c.Call(ctx, "nvmf_delete_subsystem", onSubsystem{nqn}, nil)
}

// NvmfSubsystem is an element of nvmf_get_subsystems.
type NvmfSubsystem struct {
	NQN             string       `json:"nqn"`
	Subtype         string       `json:"subtype"` // "NVMe" or "Discovery"
	ListenAddresses []NvmfListen `json:"listen_addresses"`
	AllowAnyHost    bool         `json:"allow_any_host"`
	Hosts           []struct {
		NQN string `json:"nqn"`
	} `json:"hosts"`
	SerialNumber  string `json:"serial_number"`
	ModelNumber   string `json:"model_number"`
	MaxNamespaces uint32 `json:"max_namespaces"`
	MinCntlid     uint16 `json:"min_cntlid"`
	MaxCntlid     uint16 `json:"max_cntlid"`
	Namespaces    []struct {
		NSID     uint32 `json:"nsid"`
		BdevName string `json:"bdev_name"`
		NGUID    string `json:"nguid"`
		EUI64    string `json:"eui64"`
		UUID     string `json:"uuid"`
		ANAGRPID uint32 `json:"anagrpid"` // told only where the subsystem reports ANA states
	} `json:"namespaces"`
}

// GetNvmfSubsystems returns all subsystems (nvmf_get_subsystems), the discovery subsystem too.
func GetNvmfSubsystems(ctx context.Context, c Caller) ([]NvmfSubsystem, error) {
	return get[[]NvmfSubsystem](ctx, c, "nvmf_get_subsystems", nil)
}

// GetNvmfSubsystem returns one subsystem (nvmf_get_subsystems); a refusal if there is none.
func GetNvmfSubsystem(ctx context.Context, c Caller, nqn string) ([]NvmfSubsystem, error) {
	return get[[]NvmfSubsystem](ctx, c, "nvmf_get_subsystems", onSubsystem{nqn})
}

// NvmfAddHost are parameters of nvmf_subsystem_add_host.
type NvmfAddHost struct {
	NQN  string `json:"nqn"`
	Host string `json:"host"`
	// Psk names the key that the host must have, see Features.Keyring. Only a TCP transport that exists
	// already takes notice.
	Psk string `json:"psk,omitempty"`
}

// Do makes the call.
func (p NvmfAddHost) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_subsystem_add_host", p, nil)
}

// NvmfRemoveHost are parameters of nvmf_subsystem_remove_host.
type NvmfRemoveHost struct {
	NQN  string `json:"nqn"`
	Host string `json:"host"`
}

// Do makes the call. The answer comes when the host's controllers are gone.
func (p NvmfRemoveHost) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_subsystem_remove_host", p, nil)
}

// NvmfAllowAnyHost are parameters of nvmf_subsystem_allow_any_host.
type NvmfAllowAnyHost struct {
	NQN          string `json:"nqn"`
	AllowAnyHost bool   `json:"allow_any_host"`
}

// Do makes the call. Nobody is disconnected by it.
func (p NvmfAllowAnyHost) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_subsystem_allow_any_host", p, nil)
}

// NvmfListen is the address of a listener.
type NvmfListen struct {
	Trtype  string `json:"trtype"`
	Adrfam  string `json:"adrfam,omitempty"`
	Traddr  string `json:"traddr"`
	Trsvcid string `json:"trsvcid,omitempty"` // a string, even where it is a port
}

// NvmfAddListener are parameters of nvmf_subsystem_add_listener.
type NvmfAddListener struct {
	NQN           string     `json:"nqn"`
	ListenAddress NvmfListen `json:"listen_address"`
	// SecureChannel asks for TLS; refused where any host may connect.
	SecureChannel bool `json:"secure_channel,omitempty"`
}

// Do makes the call.
func (p NvmfAddListener) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_subsystem_add_listener", p, nil)
}

// NvmfRemoveListener are parameters of nvmf_subsystem_remove_listener.
type NvmfRemoveListener struct {
	NQN           string     `json:"nqn"`
	ListenAddress NvmfListen `json:"listen_address"`
}

// Do makes the call. Controllers that came through the listener are disconnected.
func (p NvmfRemoveListener) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_subsystem_remove_listener", p, nil)
}

// NvmfNamespace is a namespace as nvmf_subsystem_add_ns takes it.
type NvmfNamespace struct {
	NSID     uint32 `json:"nsid,omitempty"` // 0 is the lowest that is free
	BdevName string `json:"bdev_name"`
	UUID     string `json:"uuid,omitempty"`
	NGUID    string `json:"nguid,omitempty"` // 32 hexadecimal digits
	EUI64    string `json:"eui64,omitempty"` // 16 hexadecimal digits
}

// NvmfAddNs are parameters of nvmf_subsystem_add_ns.
type NvmfAddNs struct {
	NQN       string        `json:"nqn"`
	Namespace NvmfNamespace `json:"namespace"`
}

// Do makes the call and returns the nsid.
func (p NvmfAddNs) Do(ctx context.Context, c Caller) (uint32, error) {
	return get[uint32](ctx, c, "nvmf_subsystem_add_ns", p)
}

// NvmfRemoveNs are parameters of nvmf_subsystem_remove_ns.
type NvmfRemoveNs struct {
	NQN  string `json:"nqn"`
	NSID uint32 `json:"nsid"`
}

// Do makes the call.
func (p NvmfRemoveNs) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "nvmf_subsystem_remove_ns", p, nil)
}

// NvmfQpair is a queue that a host has connected.
type NvmfQpair struct {
	Cntlid        uint16     `json:"cntlid"`
	QID           uint16     `json:"qid"` // 0 is the admin queue
	State         string     `json:"state"`
	Hostnqn       string     `json:"hostnqn"`
	ListenAddress NvmfListen `json:"listen_address"`
}

// GetNvmfQpairs returns the queues of all hosts of a subsystem (nvmf_subsystem_get_qpairs).
func GetNvmfQpairs(ctx context.Context, c Caller, nqn string) ([]NvmfQpair, error) {
	return get[[]NvmfQpair](ctx, c, "nvmf_subsystem_get_qpairs", onSubsystem{nqn})
}
