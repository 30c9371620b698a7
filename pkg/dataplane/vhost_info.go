// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

type getVhostsParams struct {
	Name *string `rpc:"name"`
}

// vhostResult is a controller as vhost_get_controllers shows it.
type vhostResult struct {
	Ctrlr           string          `json:"ctrlr"`
	CPUMask         string          `json:"cpumask"`
	DelayBaseUS     uint32          `json:"delay_base_us"`
	IOPSThreshold   uint32          `json:"iops_threshold"`
	Socket          string          `json:"socket"`
	Sessions        []sessionResult `json:"sessions"`
	BackendSpecific vhostBackend    `json:"backend_specific"`
}

type sessionResult struct {
	VID          int    `json:"vid"`
	ID           int    `json:"id"`
	Name         string `json:"name"`
	Started      bool   `json:"started"`
	MaxQueues    int    `json:"max_queues"`
	InflightTask int    `json:"inflight_task_cnt"`
}

// vhostBackend has the member of the controller's kind.
type vhostBackend struct {
	Block *blockBackend   `json:"block,omitempty"`
	SCSI  *[]targetResult `json:"scsi,omitempty"`
}

type blockBackend struct {
	ReadOnly bool `json:"readonly"`
	// Bdev is null when the bdev has gone.
	Bdev      *string `json:"bdev"`
	Transport string  `json:"transport"`
}

func getVhosts(_ context.Context, c *call, p *getVhostsParams) {
	v := c.server.vhost
	controllers := v.sorted()
	if p.Name != nil {
		one := v.find(*p.Name)
		if one == nil {
			c.fail(jsonrpc.CodeInternalError, strerror(syscall.ENODEV))
			return
		}
		controllers = []*vhostController{one}
	}
	out := make([]vhostResult, 0, len(controllers))
	for _, controller := range controllers {
		if result, ok := v.result(controller); ok {
			out = append(out, result)
		}
	}
	c.reply(out)
}

// result shows a controller; false if it is just being made or removed.
func (v *vhosts) result(c *vhostController) (vhostResult, bool) {
	v.mu.Lock()
	r := vhostResult{
		Ctrlr: c.name, CPUMask: maskText(c.cpumask), DelayBaseUS: c.delayBaseUS, IOPSThreshold: c.iopsThreshold,
		Sessions: []sessionResult{},
	}
	v.mu.Unlock()
	if c.scsi != nil {
		targets := c.scsi.results()
		r.Socket, r.BackendSpecific.SCSI = socketPath(v.dir, c.name), &targets
		return r, true
	}
	served, err := v.blk.Controller(c.name)
	if err != nil {
		return vhostResult{}, false
	}
	info := served.Info()
	r.Socket = info.Socket
	for _, s := range info.Sessions {
		r.Sessions = append(r.Sessions, sessionResult{
			VID: s.VID, ID: s.ID, Name: s.Name, Started: s.Started, MaxQueues: s.MaxQueues, InflightTask: s.InFlight,
		})
	}
	r.BackendSpecific.Block = &blockBackend{ReadOnly: info.ReadOnly, Transport: blkTransport}
	if info.Bdev != "" {
		r.BackendSpecific.Block.Bdev = &info.Bdev
	}
	return r, true
}

func maskText(mask uint64) string { return fmt.Sprintf("%#x", mask) }

type vhostBlkConfig struct {
	Ctrlr     string `json:"ctrlr"`
	DevName   string `json:"dev_name"`
	CPUMask   string `json:"cpumask"`
	ReadOnly  bool   `json:"readonly"`
	Transport string `json:"transport"`
}

type vhostSCSIConfig struct {
	Ctrlr   string `json:"ctrlr"`
	CPUMask string `json:"cpumask"`
	Delay   bool   `json:"delay"`
}

type vhostNameConfig struct {
	Ctrlr string `json:"ctrlr"`
}

type scsiTargetConfig struct {
	Ctrlr    string `json:"ctrlr"`
	Num      int    `json:"scsi_target_num"`
	BdevName string `json:"bdev_name"`
}

type coalescingConfig struct {
	Ctrlr         string `json:"ctrlr"`
	DelayBaseUS   uint32 `json:"delay_base_us"`
	IOPSThreshold uint32 `json:"iops_threshold"`
}

// config lists the calls that would make the controllers of one kind anew. One whose bdev has gone
// cannot be made again.
func (v *vhosts) config(scsi bool) []configEntry {
	out := []configEntry{}
	for _, c := range v.sorted() {
		r, ok := v.result(c)
		if !ok || scsi != (c.scsi != nil) {
			continue
		}
		switch b := r.BackendSpecific.Block; {
		case scsi:
			out = append(out, configEntry{Method: "vhost_create_scsi_controller", Params: vhostSCSIConfig{Ctrlr: r.Ctrlr, CPUMask: r.CPUMask, Delay: true}})
			for _, t := range *r.BackendSpecific.SCSI {
				out = append(out, configEntry{Method: "vhost_scsi_controller_add_target", Params: scsiTargetConfig{
					Ctrlr: r.Ctrlr, Num: t.Num, BdevName: t.LUNs[0].BdevName,
				}})
			}
			out = append(out, configEntry{Method: "vhost_start_scsi_controller", Params: vhostNameConfig{r.Ctrlr}})
		case b.Bdev == nil:
			continue
		default:
			out = append(out, configEntry{Method: "vhost_create_blk_controller", Params: vhostBlkConfig{
				Ctrlr: r.Ctrlr, DevName: *b.Bdev, CPUMask: r.CPUMask, ReadOnly: b.ReadOnly, Transport: b.Transport,
			}})
		}
		if r.DelayBaseUS != 0 {
			out = append(out, configEntry{Method: "vhost_controller_set_coalescing", Params: coalescingConfig{
				Ctrlr: r.Ctrlr, DelayBaseUS: r.DelayBaseUS, IOPSThreshold: r.IOPSThreshold,
			}})
		}
	}
	return out
}
