// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// attached remembers with what the paths of the host were attached.
type attached struct {
	mu sync.Mutex
	// how is guarded by mu.
	how map[attachKey]manner
}

// manner is with what one path was attached.
type manner struct {
	options host.AttachOptions
	key     *fileKey // nil without TLS
}

// attachKey tells paths apart.
type attachKey struct {
	name, hostnqn string
	trid          host.TransportID
}

func newAttached() *attached { return &attached{how: make(map[attachKey]manner)} }

// prune forgets paths that are there no more, so that one which comes back is not taken for the old one.
func (a *attached) prune(h *host.Host) { a.note(h, &host.AttachOptions{}, nil) }

// note remembers a path that has just been attached, and forgets those that are there no more.
func (a *attached) note(h *host.Host, o *host.AttachOptions, key *fileKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := make(map[attachKey]manner)
	for _, c := range h.Controllers() {
		for i := range c.Paths {
			path := &c.Paths[i]
			for _, trid := range append([]host.TransportID{path.Trid}, path.Alternates...) {
				at := attachKey{name: c.Name, hostnqn: path.HostNQN, trid: trid}
				if how, ok := a.how[at]; ok {
					now[at] = how
				} else if c.Name == o.Name {
					now[at] = manner{options: *o, key: key}
				}
			}
		}
	}
	a.how = now
}

// nvmeAttachConfig is a path as framework_get_config shows it.
type nvmeAttachConfig struct {
	Name                    string           `json:"name"`
	Trtype                  string           `json:"trtype"`
	Adrfam                  string           `json:"adrfam,omitempty"`
	Traddr                  string           `json:"traddr"`
	Trsvcid                 string           `json:"trsvcid,omitempty"`
	Subnqn                  string           `json:"subnqn,omitempty"`
	PrchkReftag             bool             `json:"prchk_reftag"`
	PrchkGuard              bool             `json:"prchk_guard"`
	CtrlrLossTimeoutSec     int32            `json:"ctrlr_loss_timeout_sec"`
	ReconnectDelaySec       uint32           `json:"reconnect_delay_sec"`
	FastIOFailTimeoutSec    uint32           `json:"fast_io_fail_timeout_sec"`
	PSK                     string           `json:"psk,omitempty"`
	Hostnqn                 string           `json:"hostnqn,omitempty"`
	Hdgst                   bool             `json:"hdgst"`
	Ddgst                   bool             `json:"ddgst"`
	Hostaddr                string           `json:"hostaddr,omitempty"`
	Hostsvcid               string           `json:"hostsvcid,omitempty"`
	Multipath               host.Mode        `json:"multipath"`
	FabricsConnectTimeoutUS int64            `json:"fabrics_connect_timeout_us,omitempty"`
	NumIOQueues             uint32           `json:"num_io_queues"`
	DisableSQFlowControl    bool             `json:"disable_sq_flow_control"`
	MultipathOpts           multipathOptions `json:"multipath_opts"`
}

// config lists what would attach the paths of today.
func (a *attached) config(h *host.Host) []configEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []configEntry
	for _, c := range h.Controllers() {
		for i := range c.Paths {
			path := &c.Paths[i]
			for _, trid := range append([]host.TransportID{path.Trid}, path.Alternates...) {
				how, ok := a.how[attachKey{name: c.Name, hostnqn: path.HostNQN, trid: trid}]
				if ok {
					cfg := newAttachConfig(c.Name, path.HostNQN, trid, &how.options)
					if how.key != nil {
						cfg.PSK = how.key.param()
					}
					out = append(out, configEntry{Method: "bdev_nvme_attach_controller", Params: cfg})
				}
			}
		}
	}
	return out
}

// keyUsers counts the paths of today that use each key.
func (a *attached) keyUsers(h *host.Host) map[*fileKey]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	users := make(map[*fileKey]int)
	for _, c := range h.Controllers() {
		for i := range c.Paths {
			path := &c.Paths[i]
			if how := a.how[attachKey{name: c.Name, hostnqn: path.HostNQN, trid: path.Trid}]; how.key != nil {
				users[how.key]++
			}
		}
	}
	return users
}

func newAttachConfig(name, hostnqn string, trid host.TransportID, o *host.AttachOptions) nvmeAttachConfig {
	return nvmeAttachConfig{
		Name: name, Trtype: trid.Trtype, Adrfam: trid.Adrfam, Traddr: trid.Traddr, Trsvcid: trid.Trsvcid,
		Subnqn: trid.Subnqn, CtrlrLossTimeoutSec: o.Recovery.LossTimeoutSec,
		ReconnectDelaySec: o.Recovery.ReconnectDelaySec, FastIOFailTimeoutSec: o.Recovery.FastIOFailSec,
		Hostnqn: hostnqn, Hdgst: o.HeaderDigest, Ddgst: o.DataDigest, Hostaddr: o.HostAddr, Hostsvcid: o.HostSvcID,
		Multipath: o.Mode, FabricsConnectTimeoutUS: o.ConnectTimeout.Microseconds(), NumIOQueues: o.IOQueues,
		DisableSQFlowControl: o.NoSQFlowControl, MultipathOpts: newMultipathOptions(o.Multipath),
	}
}

// newMultipathOptions is the reverse of multipath.
func newMultipathOptions(m host.Multipath) multipathOptions {
	policy := multipathPolicy(m.Policy)
	out := multipathOptions{Policy: &policy}
	if m.Selector != "" {
		selector := multipathSelector(m.Selector)
		out.Selector = &selector
	}
	if m.MinIO != host.MinIOUnset {
		out.MinIO = &m.MinIO
	}
	return out
}
