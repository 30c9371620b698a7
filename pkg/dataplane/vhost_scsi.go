// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// maxSCSITargets is how many targets a controller has room for.
const maxSCSITargets = 8

// scsiIDs hands out the numbers which SPDK gives to SCSI devices of the whole process.
type scsiIDs struct {
	mu sync.Mutex
	// taken says which are; guarded by mu.
	taken []bool
}

func (i *scsiIDs) take() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	id := slices.Index(i.taken, false)
	if id < 0 {
		id = len(i.taken)
		i.taken = append(i.taken, false)
	}
	i.taken[id] = true
	return id
}

func (i *scsiIDs) put(id int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.taken[id] = false
}

// scsiController keeps the books of a vhost-scsi controller: its targets hold their bdevs open as
// they would with SPDK, but nobody serves SCSI, so who connects to its socket is sent away.
type scsiController struct {
	ids *scsiIDs
	// vanish forgets the controller.
	vanish func()

	mu sync.Mutex
	// socket is nil until the controller is started; guarded by mu.
	socket *scsiSocket
	// targets are by number; guarded by mu.
	targets [maxSCSITargets]*scsiTarget
	// closed refuses further targets; guarded by mu.
	closed bool
}

type scsiTarget struct {
	id   int
	desc *bdev.Desc
}

// next stands for the lowest number that is free.
const next = -1

// add opens a bdev as a target and returns its number.
func (s *scsiController) add(bdevs *bdev.Registry, num int, name string) (int, syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if num < 0 {
		if num = slices.Index(s.targets[:], nil); num < 0 {
			return 0, syscall.ENOSPC
		}
	}
	switch {
	case num >= maxSCSITargets || s.closed:
		return 0, syscall.EINVAL
	case s.targets[num] != nil:
		return 0, syscall.EEXIST
	}
	t := &scsiTarget{}
	desc, err := bdevs.Open(name, true, bdev.Events{Removed: func() { s.remove(t) }})
	if err != nil {
		return 0, syscall.EINVAL
	}
	t.desc, t.id = desc, s.ids.take()
	s.targets[num] = t
	return num, 0
}

// remove lets go of a target, if it is still there. With its last target goes a controller that has not been
// started, as with SPDK.
func (s *scsiController) remove(t *scsiTarget) {
	s.mu.Lock()
	i := slices.Index(s.targets[:], t)
	if i >= 0 {
		s.targets[i] = nil
	}
	last := i >= 0 && s.socket == nil && !s.closed && s.targets == [maxSCSITargets]*scsiTarget{}
	s.mu.Unlock()
	if i >= 0 {
		s.ids.put(t.id)
		_ = t.desc.Close()
	}
	if last {
		s.vanish()
	}
}

// start makes the socket, if there is none.
func (s *scsiController) start(v *vhosts, name string) syscall.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return syscall.ENODEV
	case s.socket != nil:
		return 0
	}
	socket, err := listenSCSI(v.dir, name, v.log)
	if err != nil {
		v.log.Debug("vhost controller not started", "err", err)
		return syscall.EIO
	}
	s.socket = socket
	return 0
}

// at returns a target, or nil.
func (s *scsiController) at(num uint32) *scsiTarget {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.targets[num]
}

// users is how many targets are of the bdev.
func (s *scsiController) users(name string) int {
	n := 0
	for _, r := range s.results() {
		if r.LUNs[0].BdevName == name {
			n++
		}
	}
	return n
}

// close lets go of everything. It may be called again.
func (s *scsiController) close() {
	s.mu.Lock()
	s.closed = true
	targets, socket := s.targets, s.socket
	s.mu.Unlock()
	for _, t := range targets {
		if t != nil {
			s.remove(t)
		}
	}
	if socket != nil {
		socket.close()
	}
}

// targetResult is a target as vhost_get_controllers shows it.
type targetResult struct {
	Num  int         `json:"scsi_dev_num"`
	ID   int         `json:"id"`
	Name string      `json:"target_name"`
	LUNs []lunResult `json:"luns"`
}

type lunResult struct {
	ID       int    `json:"id"`
	BdevName string `json:"bdev_name"`
}

func (s *scsiController) results() []targetResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []targetResult{}
	for num, t := range s.targets {
		if t != nil {
			out = append(out, targetResult{
				Num: num, ID: t.id, Name: fmt.Sprintf("Target %d", num), LUNs: []lunResult{{BdevName: t.desc.Name()}},
			})
		}
	}
	return out
}

type createVhostSCSIParams struct {
	Ctrlr   string `rpc:"ctrlr,required"`
	CPUMask string `rpc:"cpumask"`
	Delay   bool   `rpc:"delay"`
}

// createVhostSCSI makes a controller, with its socket unless that is to come later.
func createVhostSCSI(_ context.Context, c *call, p *createVhostSCSIParams) {
	v := c.server.vhost
	made, errno := newController(p.Ctrlr, p.CPUMask)
	if errno == 0 && v.find(p.Ctrlr) != nil {
		errno = syscall.EEXIST
	}
	if errno == 0 {
		made.scsi = &scsiController{ids: &c.server.scsiIDs, vanish: func() { v.drop(made) }}
		if !p.Delay {
			errno = made.scsi.start(v, p.Ctrlr)
		}
	}
	if errno != 0 {
		c.failVhost(errno)
		return
	}
	v.put(made)
	c.reply(true)
}

// startVhostSCSI makes the socket of a controller.
func startVhostSCSI(_ context.Context, c *call, p *vhostParams) {
	if controller := c.server.vhost.find(p.Ctrlr); controller != nil && controller.scsi == nil {
		c.server.cfg.Log.Error("a vhost-blk controller was to be started: SPDK would be gone now", "controller", p.Ctrlr)
		if c.server.cfg.CrashLikeSPDK && c.server.cfg.Kill(syscall.SIGKILL) == nil {
			return
		}
	}
	s := c.scsi(p.Ctrlr)
	if s == nil {
		return
	}
	if errno := s.start(c.server.vhost, p.Ctrlr); errno != 0 {
		c.failVhost(errno)
		return
	}
	c.reply(true)
}

// scsi returns the SCSI controller of a request, or answers that it is none.
func (c *call) scsi(name string) *scsiController {
	controller := c.server.vhost.find(name)
	switch {
	case controller == nil:
		c.failVhost(syscall.ENODEV)
	case controller.scsi == nil:
		c.failVhost(syscall.EINVAL)
	default:
		return controller.scsi
	}
	return nil
}

type addSCSITargetParams struct {
	Ctrlr    string `rpc:"ctrlr,required"`
	Num      int32  `rpc:"scsi_target_num,required"`
	BdevName string `rpc:"bdev_name,required"`
}

func addSCSITarget(_ context.Context, c *call, p *addSCSITargetParams) {
	s := c.scsi(p.Ctrlr)
	if s == nil {
		return
	}
	num, errno := s.add(c.server.bdevs, max(int(p.Num), next), p.BdevName)
	if errno != 0 {
		c.failVhost(errno)
		return
	}
	c.reply(num)
}

type removeSCSITargetParams struct {
	Ctrlr string `rpc:"ctrlr,required"`
	Num   uint32 `rpc:"scsi_target_num,required"`
}

func removeSCSITarget(_ context.Context, c *call, p *removeSCSITargetParams) {
	s := c.scsi(p.Ctrlr)
	if s == nil {
		return
	}
	if p.Num >= maxSCSITargets {
		c.failVhost(syscall.EINVAL)
		return
	}
	t := s.at(p.Num)
	if t == nil {
		c.failVhost(syscall.EBUSY)
		return
	}
	s.remove(t)
	c.reply(true)
}
