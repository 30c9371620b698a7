// SPDX-License-Identifier: Apache-2.0

package host

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// ControllerInfo is a snapshot of a controller.
type ControllerInfo struct {
	// Name of the controller.
	Name string
	// Paths in order of creation.
	Paths []PathInfo
}

// PathInfo is a snapshot of a path.
type PathInfo struct {
	State State
	// Trid is the address in use, Alternates are those to fail over to.
	Trid       TransportID
	Alternates []TransportID
	// CNTLID is that of the latest connection.
	CNTLID uint16
	// HostNQN, HostAddr and HostSvcID are this end; address and port as given to Attach.
	HostNQN, HostAddr, HostSvcID string
}

// Controllers returns all controllers in order of creation.
func (h *Host) Controllers() []ControllerInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]ControllerInfo, 0, len(h.controllers))
	for _, c := range h.controllers {
		info := ControllerInfo{Name: c.name}
		for _, p := range c.paths {
			info.Paths = append(info.Paths, p.info())
		}
		out = append(out, info)
	}
	return out
}

func (p *path) info() PathInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PathInfo{
		State: p.state, Trid: p.set.trid, Alternates: slices.Clone(p.others), CNTLID: p.cntlid,
		HostNQN: p.set.hostnqn, HostAddr: p.set.hostaddr, HostSvcID: p.set.hostsvcid,
	}
}

// bdevName is the name of a namespace's bdev.
func (c *controller) bdevName(nsid uint32) string { return fmt.Sprintf("%sn%d", c.name, nsid) }

// IOPathInfo is a namespace over one path.
type IOPathInfo struct {
	Bdev   string
	CNTLID uint16
	// Current says that the next request may go this way, Connected that the path is up, Accessible
	// that its controller lets I/O through, as far as was last known.
	Current, Connected, Accessible bool
	Trid                           TransportID
}

// IOPaths returns the paths of the bdevs that somebody has open, or of one of them if name is not
// empty, sorted by bdev. As in SPDK, a bdev that nobody has open has no I/O paths.
func (h *Host) IOPaths(name string) []IOPathInfo {
	h.mu.Lock()
	var devices []*device
	for _, c := range h.controllers {
		for _, d := range c.devices {
			if name == "" || d.name == name {
				devices = append(devices, d)
			}
		}
	}
	h.mu.Unlock()
	slices.SortFunc(devices, func(a, b *device) int { return cmp.Compare(a.name, b.name) })
	var out []IOPathInfo
	for _, d := range devices {
		if info, err := h.cfg.Registry.Lookup(d.name); err != nil || info.Openers == 0 {
			continue
		}
		set := d.paths.Load()
		first := len(out)
		for _, io := range set.list {
			p := io.path.info()
			connected := io.association() != nil
			current := d.current.Load() == io
			if set.policy.Policy == ActiveActive {
				current = connected && io.accessible()
			}
			out = append(out, IOPathInfo{
				Bdev: d.name, CNTLID: p.CNTLID, Trid: p.Trid,
				Current: current, Connected: connected, Accessible: io.accessible(),
			})
		}
		slices.SortStableFunc(out[first:], func(a, b IOPathInfo) int { return cmp.Compare(a.CNTLID, b.CNTLID) })
	}
	return out
}

// The JSON form of the driver-specific part of bdev_get_bdevs.
type (
	nvmeInfo struct {
		Paths    []nvmePathInfo `json:"nvme"`
		Policy   Policy         `json:"mp_policy"`
		Selector Selector       `json:"selector,omitempty"`
		MinIO    *uint32        `json:"rr_min_io,omitempty"`
	}
	nvmePathInfo struct {
		Trid TransportID `json:"trid"`
		Ctrl ctrlData    `json:"ctrlr_data"`
		VS   struct {
			Version string `json:"nvme_version"`
		} `json:"vs"`
		NS nsData `json:"ns_data"`
	}
	ctrlData struct {
		CNTLID   uint16   `json:"cntlid"`
		Vendor   string   `json:"vendor_id"`
		Model    string   `json:"model_number"`
		Serial   string   `json:"serial_number"`
		Firmware string   `json:"firmware_revision"`
		Subnqn   string   `json:"subnqn,omitempty"`
		OACS     oacsData `json:"oacs"`
		Multi    bool     `json:"multi_ctrlr"`
		ANA      bool     `json:"ana_reporting"`
	}
	oacsData struct {
		Security int `json:"security"`
		Format   int `json:"format"`
		Firmware int `json:"firmware"`
		NSManage int `json:"ns_manage"`
	}
	nsData struct {
		ID       uint32 `json:"id"`
		ANAState string `json:"ana_state,omitempty"`
		Share    bool   `json:"can_share"`
	}
)

// driverSpecific is what bdev_get_bdevs shows of the device.
func (d *device) driverSpecific() any {
	set := d.paths.Load()
	info := nvmeInfo{Paths: []nvmePathInfo{}, Policy: set.policy.Policy}
	if set.policy.Policy == ActiveActive {
		info.Selector = cmp.Or(set.policy.Selector, RoundRobin)
		if info.Selector == RoundRobin {
			minIO := set.policy.MinIO
			if minIO == MinIOUnset {
				minIO = 1
			}
			info.MinIO = &minIO
		}
	}
	for _, io := range set.list {
		info.Paths = append(info.Paths, io.describe())
	}
	return info
}

func (p *ioPath) describe() nvmePathInfo {
	q := p.path
	q.mu.Lock()
	trid, cntlid, id, vs := q.set.trid, q.cntlid, q.ident, q.vs
	q.mu.Unlock()
	bit := func(n int) int { return int(id.OACS >> n & 1) }
	out := nvmePathInfo{Trid: trid, NS: nsData{ID: p.nsid, Share: p.shared}, Ctrl: ctrlData{
		CNTLID: cntlid, Vendor: fmt.Sprintf("0x%04x", id.VID), Model: id.MN, Serial: id.SN, Firmware: id.FR, Subnqn: id.SUBNQN,
		OACS:  oacsData{Security: bit(0), Format: bit(1), Firmware: bit(2), NSManage: bit(3)},
		Multi: id.CMIC&nvme.CMICMultiController != 0, ANA: id.CMIC&nvme.CMICANAReporting != 0,
	}}
	out.VS.Version = fmt.Sprintf("%d.%d", vs>>16, vs>>8&0xFF)
	if tertiary := vs & 0xFF; tertiary != 0 {
		out.VS.Version += fmt.Sprintf(".%d", tertiary)
	}
	if out.Ctrl.ANA {
		out.NS.ANAState = anaName(p.state())
	}
	return out
}

// anaName is SPDK's name of an access state.
func anaName(s nvme.ANAState) string {
	switch s {
	case nvme.ANAOptimized:
		return "optimized"
	case nvme.ANANonOptimized:
		return "non_optimized"
	case nvme.ANAInaccessible:
		return "inaccessible"
	case nvme.ANAPersistentLoss:
		return "persistent_loss"
	case nvme.ANAChange:
		return "change"
	default:
		return "unknown"
	}
}
