// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// subsystemConfig is a subsystem as framework_get_config shows it.
type subsystemConfig struct {
	NQN           string `json:"nqn"`
	AllowAnyHost  bool   `json:"allow_any_host"`
	SerialNumber  string `json:"serial_number"`
	ModelNumber   string `json:"model_number"`
	AdminLabel    string `json:"admin_label,omitempty"`
	MaxNamespaces uint32 `json:"max_namespaces"`
	MinCntlid     uint16 `json:"min_cntlid"`
	MaxCntlid     uint16 `json:"max_cntlid"`
	ANAReporting  bool   `json:"ana_reporting"`
	DMRSL         uint32 `json:"dmrsl"`
	WZSL          uint8  `json:"wzsl"`
	Passthrough   bool   `json:"passthrough"`
	EnableNSSR    bool   `json:"enable_nssr"`
}

type hostConfig struct {
	NQN  string `json:"nqn"`
	Host string `json:"host"`
	PSK  string `json:"psk,omitempty"`
}

type namespaceConfig struct {
	NQN       string        `json:"nqn"`
	Namespace namespaceBody `json:"namespace"`
}

type namespaceBody struct {
	NSID          uint32    `json:"nsid"`
	BdevName      string    `json:"bdev_name"`
	NGUID         string    `json:"nguid"`
	EUI64         string    `json:"eui64,omitempty"`
	UUID          uuid.UUID `json:"uuid"`
	ANAGRPID      uint32    `json:"anagrpid,omitempty"`
	NoAutoVisible bool      `json:"no_auto_visible"`
}

type listenerConfig struct {
	NQN           string        `json:"nqn"`
	ListenAddress addressResult `json:"listen_address"`
	SecureChannel bool          `json:"secure_channel"`
}

// maxSubsystems is how many subsystems there can be, the discovery subsystem among them, unless the
// configuration says otherwise.
const maxSubsystems = 1024

type maxSubsystemsConfig struct {
	MaxSubsystems int `json:"max_subsystems"`
}

// config lists what would make the target of today: transport, referrals, subsystems, hosts,
// namespaces, listeners.
func (n *nvmf) config() []configEntry {
	out := []configEntry{{
		Method: "nvmf_set_max_subsystems", Params: maxSubsystemsConfig{MaxSubsystems: n.maxSubsystems},
	}}
	for _, t := range n.transports() {
		out = append(out, configEntry{Method: "nvmf_create_transport", Params: t})
	}
	for _, r := range n.referralInfos() {
		out = append(out, configEntry{Method: "nvmf_discovery_add_referral", Params: r})
	}
	infos := n.target.Subsystems()
	var hosts, namespaces, listeners []configEntry
	for i := range infos {
		info := &infos[i]
		for _, l := range info.Listeners {
			listeners = append(listeners, configEntry{Method: "nvmf_subsystem_add_listener", Params: listenerConfig{
				NQN: info.NQN, ListenAddress: newAddressResult(l.Address), SecureChannel: l.Secure,
			}})
		}
		if info.Discovery {
			continue
		}
		out = append(out, configEntry{Method: "nvmf_create_subsystem", Params: n.subsystemConfig(info)})
		for _, host := range info.Hosts {
			cfg := hostConfig{NQN: info.NQN, Host: host}
			if key := n.keyOf(info.NQN, host); key != nil {
				cfg.PSK = key.param()
			}
			hosts = append(hosts, configEntry{Method: "nvmf_subsystem_add_host", Params: cfg})
		}
		for j := range info.Namespaces {
			ns := newNamespaceInfo(&info.Namespaces[j], info.ANAReporting)
			namespaces = append(namespaces, configEntry{Method: "nvmf_subsystem_add_ns", Params: namespaceConfig{
				NQN: info.NQN,
				Namespace: namespaceBody{
					NSID: ns.NSID, BdevName: ns.BdevName, NGUID: ns.NGUID, EUI64: ns.EUI64, UUID: ns.UUID,
					ANAGRPID: ns.ANAGRPID,
				},
			}})
		}
	}
	out = append(out, hosts...)
	out = append(out, namespaces...)
	return append(out, listeners...)
}

func (n *nvmf) subsystemConfig(i *target.SubsystemInfo) subsystemConfig {
	c := subsystemConfig{
		NQN: i.NQN, AllowAnyHost: i.AllowAnyHost, SerialNumber: unblank(i.SerialNumber), ModelNumber: unblank(i.ModelNumber),
		MaxNamespaces: i.MaxNamespaces, MinCntlid: i.MinCNTLID, MaxCntlid: i.MaxCNTLID,
		ANAReporting: i.ANAReporting, DMRSL: i.DMRSL, WZSL: i.WZSL,
	}
	if own := n.find(i.NQN); own != nil {
		c.AdminLabel = own.label
	}
	return c
}
