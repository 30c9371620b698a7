// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/hex"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func nvmfInfoMethods() []method {
	return []method{
		taking("nvmf_subsystem_get_listeners", refusedParams, getListeners),
		taking("nvmf_subsystem_get_controllers", refusedParams, getSubsystemControllers),
		taking("nvmf_subsystem_get_qpairs", refusedParams, getQpairs),
		taking("nvmf_get_stats", refusedParams, getNvmfStats).maybe(),
	}
}

type getSubsystemsParams struct {
	NQN     *string `rpc:"nqn"`
	TgtName *string `rpc:"tgt_name"`
}

// subsystemInfo is a subsystem in answers; the discovery subsystem has only the first members.
type subsystemInfo struct {
	NQN             string          `json:"nqn"`
	Subtype         string          `json:"subtype"`
	ListenAddresses []addressResult `json:"listen_addresses"`
	AllowAnyHost    bool            `json:"allow_any_host"`
	Hosts           []hostInfo      `json:"hosts"`
	*subsystemBody
}

type subsystemBody struct {
	SerialNumber  string          `json:"serial_number"`
	ModelNumber   string          `json:"model_number"`
	AdminLabel    string          `json:"admin_label,omitempty"`
	MaxNamespaces uint32          `json:"max_namespaces"`
	Passthrough   bool            `json:"passthrough"`
	MinCntlid     uint16          `json:"min_cntlid"`
	MaxCntlid     uint16          `json:"max_cntlid"`
	DMRSL         uint32          `json:"dmrsl"`
	WZSL          uint8           `json:"wzsl"`
	Namespaces    []namespaceInfo `json:"namespaces"`
}

type hostInfo struct {
	NQN string `json:"nqn"`
}

type namespaceInfo struct {
	NSID     uint32    `json:"nsid"`
	BdevName string    `json:"bdev_name"`
	Name     string    `json:"name"`
	NGUID    string    `json:"nguid"`
	EUI64    string    `json:"eui64,omitempty"`
	UUID     uuid.UUID `json:"uuid"`
	ANAGRPID uint32    `json:"anagrpid,omitempty"`
}

func getSubsystems(_ context.Context, c *call, p *getSubsystemsParams) {
	if c.noTarget(p.TgtName) {
		return
	}
	var infos []target.SubsystemInfo
	if p.NQN != nil {
		info, err := c.server.nvmf.target.Subsystem(*p.NQN)
		if err != nil {
			if !c.server.manners.namesSubsystem {
				c.failErrno(syscall.ENODEV)
				return
			}
			c.noSubsystem(*p.NQN)
			return
		}
		infos = append(infos, info)
	} else {
		infos = c.server.nvmf.target.Subsystems()
	}
	out := make([]subsystemInfo, 0, len(infos))
	for i := range infos {
		out = append(out, c.server.nvmf.info(&infos[i]))
	}
	c.reply(out)
}

// info is a subsystem in the words of answers.
func (n *nvmf) info(i *target.SubsystemInfo) subsystemInfo {
	out := subsystemInfo{
		NQN: i.NQN, Subtype: "NVMe", AllowAnyHost: i.AllowAnyHost,
		ListenAddresses: make([]addressResult, 0, len(i.Listeners)), Hosts: make([]hostInfo, 0, len(i.Hosts)),
	}
	for _, l := range i.Listeners {
		out.ListenAddresses = append(out.ListenAddresses, newAddressResult(l.Address))
	}
	for _, host := range i.Hosts {
		out.Hosts = append(out.Hosts, hostInfo{NQN: host})
	}
	if i.Discovery {
		out.Subtype = "Discovery"
		return out
	}
	label := ""
	if own := n.find(i.NQN); own != nil {
		label = own.label
	}
	out.subsystemBody = &subsystemBody{
		SerialNumber: unblank(i.SerialNumber), ModelNumber: unblank(i.ModelNumber), AdminLabel: label, MaxNamespaces: i.MaxNamespaces,
		MinCntlid: i.MinCNTLID, MaxCntlid: i.MaxCNTLID, DMRSL: i.DMRSL, WZSL: i.WZSL,
		Namespaces: make([]namespaceInfo, 0, len(i.Namespaces)),
	}
	for j := range i.Namespaces {
		out.Namespaces = append(out.Namespaces, newNamespaceInfo(&i.Namespaces[j], i.ANAReporting))
	}
	return out
}

func newNamespaceInfo(ns *target.NamespaceConfig, ana bool) namespaceInfo {
	out := namespaceInfo{
		NSID: ns.NSID, BdevName: ns.BdevName, Name: ns.BdevName, NGUID: upperHex(ns.NGUID[:]), UUID: ns.UUID,
	}
	if ns.EUI64 != [8]byte{} {
		out.EUI64 = upperHex(ns.EUI64[:])
	}
	if ana {
		out.ANAGRPID = ns.ANAGRPID
	}
	return out
}

func upperHex(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

type listenerInfo struct {
	Address   addressResult `json:"address"`
	ANAStates []anaInfo     `json:"ana_states,omitempty"`
}

type anaInfo struct {
	Group uint32 `json:"ana_group"`
	State string `json:"ana_state"`
}

func getListeners(_ context.Context, c *call, p *subsystemParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		info, err := c.server.nvmf.target.Subsystem(p.NQN)
		if err != nil {
			c.failTarget(p.NQN, err)
			return
		}
		out := make([]listenerInfo, 0, len(info.Listeners))
		for _, l := range info.Listeners {
			one := listenerInfo{Address: newAddressResult(l.Address)}
			if info.ANAReporting {
				for i, state := range l.ANAStates {
					one.ANAStates = append(one.ANAStates, anaInfo{Group: uint32(i) + 1, State: anaName(state)})
				}
			}
			out = append(out, one)
		}
		c.reply(out)
	})
}

type subsystemController struct {
	Cntlid      uint16    `json:"cntlid"`
	Cntrltype   string    `json:"cntrltype,omitempty"`
	HostNQN     string    `json:"hostnqn"`
	HostID      uuid.UUID `json:"hostid"`
	NumIOQpairs int       `json:"num_io_qpairs"`
}

func getSubsystemControllers(_ context.Context, c *call, p *subsystemParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		infos, err := c.server.nvmf.target.Controllers(p.NQN)
		if err != nil {
			c.failTarget(p.NQN, err)
			return
		}
		out := make([]subsystemController, 0, len(infos))
		for _, i := range infos {
			kind := "io"
			if i.Discovery {
				kind = "discovery"
			}
			if !c.server.manners.controllerType {
				kind = ""
			}
			out = append(out, subsystemController{
				Cntlid: i.CNTLID, Cntrltype: kind, HostNQN: i.HostNQN, HostID: i.HostID, NumIOQpairs: i.Queues,
			})
		}
		c.reply(out)
	})
}

type qpairInfo struct {
	Cntlid        uint16        `json:"cntlid"`
	QID           uint16        `json:"qid"`
	State         string        `json:"state"`
	Thread        string        `json:"thread"`
	HostNQN       string        `json:"hostnqn"`
	ListenAddress addressResult `json:"listen_address"`
	PeerAddress   addressResult `json:"peer_address"`
}

func getQpairs(_ context.Context, c *call, p *subsystemParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		infos, err := c.server.nvmf.target.Qpairs(p.NQN)
		if err != nil {
			c.failTarget(p.NQN, err)
			return
		}
		out := make([]qpairInfo, 0, len(infos))
		for _, i := range infos {
			out = append(out, qpairInfo{
				Cntlid: i.CNTLID, QID: i.QID, State: "enabled", Thread: pollGroup, HostNQN: i.HostNQN,
				ListenAddress: newAddressResult(i.Listener), PeerAddress: newAddressResult(i.Peer),
			})
		}
		c.reply(out)
	})
}

type getNvmfStatsParams struct {
	TgtName *string `rpc:"tgt_name"`
}

type nvmfStatsResult struct {
	TickRate   uint64          `json:"tick_rate"`
	PollGroups []pollGroupInfo `json:"poll_groups"`
}

type pollGroupInfo struct {
	Name                      string               `json:"name"`
	AdminQpairs               uint64               `json:"admin_qpairs"`
	IOQpairs                  uint64               `json:"io_qpairs"`
	CurrentAdminQpairs        uint64               `json:"current_admin_qpairs"`
	CurrentIOQpairs           uint64               `json:"current_io_qpairs"`
	CurrentUnassociatedQpairs uint64               `json:"current_unassociated_qpairs"`
	PendingBdevIO             uint64               `json:"pending_bdev_io"`
	CompletedNVMeIO           uint64               `json:"completed_nvme_io"`
	Transports                []pollGroupTransport `json:"transports"`
}

type pollGroupTransport struct {
	Trtype string `json:"trtype"`
}

func getNvmfStats(_ context.Context, c *call, p *getNvmfStatsParams) {
	if c.noTargetShort(p.TgtName) {
		return
	}
	c.later("", func() {
		t := c.server.nvmf.target
		s := t.Stats()
		group := pollGroupInfo{
			Name: pollGroup, AdminQpairs: s.AdminQpairs, IOQpairs: s.IOQpairs,
			CurrentAdminQpairs: s.CurrentAdminQpairs, CurrentIOQpairs: s.CurrentIOQpairs,
			CurrentUnassociatedQpairs: s.CurrentUnassociatedQpairs, CompletedNVMeIO: s.CompletedNVMeIO,
			Transports: []pollGroupTransport{},
		}
		if _, ok := t.Transport(); ok {
			group.Transports = append(group.Transports, pollGroupTransport{Trtype: trtypeTCP})
		}
		c.reply(nvmfStatsResult{TickRate: bdev.TickRate, PollGroups: []pollGroupInfo{group}})
	})
}
