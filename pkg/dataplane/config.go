// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

// The subsystems whose configuration can be asked for.
const (
	subsystemKeyring   = "keyring"
	subsystemAccel     = "accel"
	subsystemBdev      = "bdev"
	subsystemNvmf      = "nvmf"
	subsystemVhostBlk  = "vhost_blk"
	subsystemVhostSCSI = "vhost_scsi"
)

// configEntry is a call that would make something anew.
type configEntry struct {
	Method string `json:"method"`
	Params any    `json:"params,omitempty"`
}

type frameworkConfigParams struct {
	Name        string `rpc:"name,required"`
	WithBatches bool   `rpc:"with_batches"`
}

// frameworkConfig answers with the calls that would bring an empty data plane to the present state.
func frameworkConfig(_ context.Context, c *call, p *frameworkConfigParams) {
	if p.WithBatches {
		c.fail(jsonrpc.CodeInvalidParams, "with_batches is not supported")
		return
	}
	name := p.Name
	if c.server.lacks.subsystems[name] {
		name = ""
	}
	switch name {
	case subsystemKeyring:
		c.reply(c.server.keyring.config())
	case subsystemAccel:
		c.reply(c.server.accel.config())
	case subsystemVhostBlk:
		c.reply(c.server.vhost.config(false))
	case subsystemVhostSCSI:
		c.reply(c.server.vhost.config(true))
	case subsystemBdev:
		c.reply(c.server.bdevConfig())
	case subsystemNvmf:
		c.reply(c.server.nvmf.config())
	default:
		c.fail(jsonrpc.CodeInvalidParams, fmt.Sprintf("Subsystem '%s' not found", p.Name))
	}
}

// bdevConfig lists what would make the bdevs of today, kind by kind.
func (s *Server) bdevConfig() []configEntry {
	out := []configEntry{}
	infos := s.bdevs.List()
	for _, module := range []string{bdev.ModuleMalloc, bdev.ModuleNull, bdev.ModuleAIO} {
		for _, info := range infos {
			if entry, ok := s.made.entry(info, module); ok {
				out = append(out, entry)
			}
		}
	}
	out = append(out, cryptoConfig(infos)...)
	options := s.options
	if options.IOQueueRequests == 0 && len(s.host.Controllers()) > 0 {
		options.IOQueueRequests = attachedQueueRequests
	}
	out = append(out, configEntry{Method: "bdev_nvme_set_options", Params: options})
	out = append(out, s.attached.config(s.host)...)
	out = append(out, qosConfig(infos)...)
	return append(out, configEntry{Method: "bdev_wait_for_examine"})
}

// made remembers how bdevs were made that a method made.
type made struct {
	mu sync.Mutex
	// how is keyed by the name of the bdev; guarded by mu.
	how map[string]madeBdev
}

type madeBdev struct {
	module string
	entry  func(*bdev.Info) configEntry
}

func newMade() *made { return &made{how: make(map[string]madeBdev)} }

func (m *made) note(name, module string, entry func(*bdev.Info) configEntry) {
	m.mu.Lock()
	m.how[name] = madeBdev{module: module, entry: entry}
	m.mu.Unlock()
}

func (m *made) forget(name string) {
	m.mu.Lock()
	delete(m.how, name)
	m.mu.Unlock()
}

// entry returns the call that made a bdev, if it is of the module.
func (m *made) entry(info *bdev.Info, module string) (configEntry, bool) {
	m.mu.Lock()
	how, ok := m.how[info.Name]
	m.mu.Unlock()
	if !ok || how.module != module || info.Module != module {
		return configEntry{}, false
	}
	return how.entry(info), true
}
