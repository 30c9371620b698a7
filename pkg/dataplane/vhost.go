// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/vhost"
)

func vhostMethods() []method {
	refusedInternalArgument := refusal{code: jsonrpc.CodeInternalError, message: "Invalid argument"}
	return []method{
		taking("vhost_create_blk_controller", refusedArgument, createVhostBlk).lenient(),
		taking("vhost_create_scsi_controller", refusedArgument, createVhostSCSI),
		taking("vhost_start_scsi_controller", refusedArgument, startVhostSCSI),
		taking("vhost_scsi_controller_add_target", refusedArgument, addSCSITarget),
		taking("vhost_scsi_controller_remove_target", refusedArgument, removeSCSITarget),
		taking("vhost_get_controllers", refusedInternalArgument, getVhosts).maybe(),
		taking("vhost_delete_controller", refusedArgument, deleteVhost),
		taking("vhost_controller_set_coalescing", refusedArgument, setCoalescing),
		taking("virtio_blk_get_transports", refusedParams, virtioTransports).maybe(),
	}
}

// vhosts are the vhost controllers: those of block devices, which a [vhost.Server] serves, and those
// of SCSI, of which there are only the books and the sockets.
type vhosts struct {
	blk   *vhost.Server
	dir   string
	log   *slog.Logger
	bdevs *bdev.Registry

	mu sync.Mutex
	// controllers are by name; guarded by mu.
	controllers map[string]*vhostController
}

// vhostController is what is remembered of a controller of either kind.
type vhostController struct {
	name    string
	cpumask uint64
	scsi    *scsiController // nil for a block device
	// delayBaseUS and iopsThreshold are guarded by vhosts.mu. Interrupts are sent once for all requests
	// that end together, whatever is set: it is only shown.
	delayBaseUS, iopsThreshold uint32
}

// Defaults of vhost controllers, and the cores that can be named in a mask. Threads run where the
// scheduler puts them: a mask is checked and shown.
const (
	defaultIOPSThreshold = 60000
	defaultCPUMask       = 1
	coresMask            = 0xff
	blkTransport         = "vhost_user_blk"
)

func newVhosts(dir string, log *slog.Logger, bdevs *bdev.Registry) (*vhosts, error) {
	blk, err := vhost.NewServer(vhost.Config{Registry: bdevs, Dir: dir, Log: log})
	if err != nil {
		return nil, fmt.Errorf("set up vhost: %w", err)
	}
	return &vhosts{blk: blk, dir: dir, log: log, bdevs: bdevs, controllers: make(map[string]*vhostController)}, nil
}

// close removes all controllers.
func (v *vhosts) close(ctx context.Context) error {
	v.mu.Lock()
	all := slices.Collect(maps.Values(v.controllers))
	clear(v.controllers)
	v.mu.Unlock()
	for _, c := range all {
		if c.scsi != nil {
			c.scsi.close()
		}
	}
	if err := v.blk.Close(ctx); err != nil {
		return fmt.Errorf("close vhost controllers: %w", err)
	}
	return nil
}

func (v *vhosts) find(name string) *vhostController {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.controllers[name]
}

// put takes a controller in, and reports false if its name is taken.
func (v *vhosts) put(c *vhostController) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.controllers[c.name] != nil {
		return false
	}
	v.controllers[c.name] = c
	return true
}

// drop forgets a controller.
func (v *vhosts) drop(c *vhostController) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.controllers[c.name] == c {
		delete(v.controllers, c.name)
	}
}

// sorted returns the controllers by name.
func (v *vhosts) sorted() []*vhostController {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.SortedFunc(maps.Values(v.controllers), func(a, b *vhostController) int { return strings.Compare(a.name, b.name) })
}

// idleUsers is how many openers of a bdev are controllers that no virtual machine uses.
func (v *vhosts) idleUsers(bdevName string) int {
	n := 0
	for _, c := range v.blk.Controllers() {
		if c.Bdev == bdevName && !slices.ContainsFunc(c.Sessions, func(s vhost.SessionInfo) bool { return s.Started }) {
			n++
		}
	}
	for _, c := range v.sorted() {
		if c.scsi != nil {
			n += c.scsi.users(bdevName)
		}
	}
	return n
}

// newController checks what both kinds have in common. A name is that of a file in the directory of
// sockets, and does not lead out of it.
func newController(name, mask string) (*vhostController, syscall.Errno) {
	if name == "" || strings.Contains(name, "/") {
		return nil, syscall.EIO
	}
	c := &vhostController{name: name, cpumask: defaultCPUMask, iopsThreshold: defaultIOPSThreshold}
	if mask != "" {
		cores, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(mask), "0x"), 16, 64)
		if err != nil || cores == 0 || cores&^coresMask != 0 {
			return nil, syscall.EINVAL
		}
		c.cpumask = cores
	}
	return c, 0
}

// failVhost answers with the text of an errno, as these methods do.
func (c *call) failVhost(errno syscall.Errno) { c.fail(jsonrpc.CodeInvalidParams, strerror(errno)) }

type createVhostBlkParams struct {
	Ctrlr      string `rpc:"ctrlr,required"`
	DevName    string `rpc:"dev_name,required"`
	ReadOnly   bool   `rpc:"readonly"`
	PackedRing bool   `rpc:"packed_ring"`
	CPUMask    string `rpc:"cpumask"`
	Transport  string `rpc:"transport"`
}

// createVhostBlk makes a controller. Front ends are offered split rings only.
func createVhostBlk(_ context.Context, c *call, p *createVhostBlkParams) {
	v := c.server.vhost
	if p.PackedRing {
		c.fail(jsonrpc.CodeInvalidParams, "packed_ring true is not supported: opi-dataplane has split rings only, leave it out")
		return
	}
	made, errno := newController(p.Ctrlr, p.CPUMask)
	if errno == 0 && p.Transport != "" && p.Transport != blkTransport {
		errno = syscall.EINVAL
	}
	if errno == 0 && !v.put(made) {
		errno = syscall.EEXIST
	}
	if errno != 0 {
		c.failVhost(errno)
		return
	}
	if _, err := v.blk.Create(vhost.Options{Name: p.Ctrlr, Bdev: p.DevName, ReadOnly: p.ReadOnly}); err != nil {
		v.drop(made)
		c.server.cfg.Log.Debug("vhost controller not created", "err", err)
		c.failVhost(errnoOf(err))
		return
	}
	c.reply(true)
}

type vhostParams struct {
	Ctrlr string `rpc:"ctrlr,required"`
}

// deleteVhost removes a controller. With a virtual machine connected it waits until that goes, and so
// does the answer: as with SPDK, that may be never.
func deleteVhost(ctx context.Context, c *call, p *vhostParams) {
	v := c.server.vhost
	controller := v.find(p.Ctrlr)
	if controller == nil {
		c.failVhost(syscall.ENODEV)
		return
	}
	c.later("", func() {
		if controller.scsi != nil {
			controller.scsi.close()
		} else if err := v.blk.Delete(ctx, p.Ctrlr); err != nil {
			c.failVhost(errnoOf(err))
			return
		}
		v.drop(controller)
		c.reply(true)
	})
}

type coalescingParams struct {
	Ctrlr         string `rpc:"ctrlr,required"`
	DelayBaseUS   uint32 `rpc:"delay_base_us,required"`
	IOPSThreshold uint32 `rpc:"iops_threshold,required"`
}

func setCoalescing(_ context.Context, c *call, p *coalescingParams) {
	// SPDK counts the delay in 32 bits of ticks, and requests in intervals of 10 ms.
	const longestUS, fewest = (1<<32 - 1) / (bdev.TickRate / 1_000_000), 100
	v := c.server.vhost
	controller := v.find(p.Ctrlr)
	switch {
	case controller == nil:
		c.failVhost(syscall.ENODEV)
	case uint64(p.DelayBaseUS) > longestUS || p.IOPSThreshold < fewest:
		c.failVhost(syscall.EINVAL)
	default:
		v.mu.Lock()
		controller.delayBaseUS, controller.iopsThreshold = p.DelayBaseUS, p.IOPSThreshold
		v.mu.Unlock()
		c.reply(true)
	}
}

type virtioTransportsParams struct {
	Name *string `rpc:"name"`
}

func virtioTransports(_ context.Context, c *call, p *virtioTransportsParams) {
	if p.Name != nil && *p.Name != blkTransport {
		c.failErrno(syscall.ENODEV)
		return
	}
	c.reply([]map[string]string{{"name": blkTransport}})
}
