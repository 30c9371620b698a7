// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Mode says what to do when a controller of the name exists.
type Mode string

// The modes, by SPDK's names.
const (
	// ModeMultipath adds a path of its own.
	ModeMultipath Mode = "multipath"
	// ModeFailover adds an address to which the controller changes when it loses the one it has.
	ModeFailover Mode = "failover"
	// ModeDisable refuses.
	ModeDisable Mode = "disable"
)

// AttachOptions say what to attach (bdev_nvme_attach_controller). [Host.AttachDefaults] fills in
// what SPDK assumes where its users say nothing.
type AttachOptions struct {
	// Name of the controller, 1 to 511 bytes.
	Name string
	// Trid is the address; only TCP is known.
	Trid TransportID
	// HostNQN is the name of this host, "" for the default one.
	HostNQN string
	// HostAddr and HostSvcID are the local address and port, "" for any. With a fixed port no more
	// than one queue can connect, so it fails.
	HostAddr, HostSvcID string
	// HeaderDigest and DataDigest ask for CRC32C in both directions.
	HeaderDigest, DataDigest bool
	// ConnectTimeout bounds ICReq and Connect of each queue; 0 is the host's AnswerTimeout.
	ConnectTimeout time.Duration
	// Mode is ModeMultipath if empty.
	Mode Mode
	// IOQueues is the greatest number of I/O queues, 1 to 65536. There are no more than processors.
	IOQueues uint32
	// Recovery says what happens while the path is away.
	Recovery Recovery
	// MaxBdevs is how many names the caller can take; not 0. If there are more, the controller stays
	// attached and the answer is ERANGE.
	MaxBdevs uint32
	// Multipath is the policy of the controller's bdevs; it must be the same for all paths.
	Multipath Multipath
	// Key, if not nil, returns the pre-shared key of TLS, without which nothing is sent. It is called once
	// nothing else speaks against the attempt, and its error is answered with ENODEV, as SPDK does.
	Key func() (nvme.PSK, error)
	// NoSQFlowControl asks for submission queues without flow control.
	NoSQFlowControl bool
}

// AttachDefaults returns the options with which SPDK begins.
func (h *Host) AttachDefaults() AttachOptions {
	o := h.Options()
	return AttachOptions{
		Mode: ModeMultipath, IOQueues: 1024, MaxBdevs: 128, Recovery: o.Recovery, Multipath: o.Multipath,
	}
}

func defaultQueues() int { return runtime.GOMAXPROCS(0) }

// Attach connects to a controller and registers its namespaces. It returns the names of the bdevs of
// that path, by nsid, including those which it shares with other paths.
//
// Errors carry the errno that SPDK answers with; those that are a [Refusal] its text too. Whatever
// fails on the wire is Unavailable (EIO). The end of ctx ends the attempt. While it lasts, the
// controller is not listed and its name is free; two equal attempts at the same time both succeed.
func (h *Host) Attach(ctx context.Context, o AttachOptions) ([]string, error) {
	o.Trid = o.Trid.normalize()
	if o.Mode == "" {
		o.Mode = ModeMultipath
	}
	if o.HostNQN == "" {
		o.HostNQN = h.hostnqn
	}
	if err := checkStrings(&o); err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, errdefs.New(errdefs.Unavailable, "the NVMe host is closing")
	}
	h.tasks.Add(1) // under the lock, so that Close waits for it
	set, err := h.admit(&o)
	h.mu.Unlock()
	defer h.tasks.Done()
	if err == nil {
		set.psk, err = o.psk()
	}
	if err != nil {
		return nil, err
	}
	a, err := connect(ctx, set)
	if err != nil {
		return nil, unreachable(err, "attach NVMe controller %q at %s port %s", o.Name, o.Trid.Traddr, o.Trid.Trsvcid)
	}
	infos, err := a.namespaces(ctx)
	if err != nil {
		a.close(context.WithoutCancel(ctx))
		return nil, unreachable(err, "attach NVMe controller %q", o.Name)
	}
	return h.adopt(ctx, &o, set, a, infos)
}

// adopt makes a connected controller a path, or its address one to fail over to.
func (h *Host) adopt(ctx context.Context, o *AttachOptions, set settings, a *association, infos []*nsInfo) ([]string, error) {
	background := context.WithoutCancel(ctx)
	h.mu.Lock()
	c := h.find(o.Name)
	if c != nil && o.Mode != ModeMultipath && !c.multipath {
		err := c.addAddress(o, infos)
		h.mu.Unlock()
		a.close(background)
		return nil, err
	}
	if c == nil {
		c = &controller{
			host: h, name: o.Name, multipath: o.Mode == ModeMultipath, policy: o.Multipath, devices: make(map[uint32]*device),
		}
	} else if err := c.accepts(o, a); err != nil {
		h.mu.Unlock()
		a.close(background)
		return nil, err
	}
	if h.closed {
		h.mu.Unlock()
		a.close(background)
		return nil, errdefs.New(errdefs.Unavailable, "the NVMe host is closing")
	}
	p := &path{
		host: h, ctrl: c, log: set.log, recovery: o.Recovery, set: set, state: StateResetting,
		ops: make(chan operation), rescan: make(chan struct{}, 1), access: make(chan struct{}, 1),
		done: make(chan struct{}), gone: make(chan struct{}), namespaces: make(map[uint32]*ioPath),
	}
	run, cancel := context.WithCancel(background)
	p.cancel = cancel
	if len(c.paths) == 0 {
		h.controllers = append(h.controllers, c)
	}
	c.paths = append(c.paths, p)
	h.mu.Unlock()

	p.publish(a)
	var names []string
	for _, info := range infos {
		if err := p.add(a, info); err != nil {
			p.log.Warn("namespace without bdev", "nsid", info.nsid, "err", err)
			continue
		}
		names = append(names, c.bdevName(info.nsid))
	}
	p.readAccess(run, a)
	h.tasks.Go(func() { p.run(run, a) })
	p.log.Info("controller attached", "cntlid", a.cntlid, "bdevs", len(names))
	if uint64(len(names)) > uint64(o.MaxBdevs) {
		return nil, errdefs.Wrap(errdefs.ResourceExhausted, syscall.ERANGE,
			"NVMe controller %q has %d bdevs, max_bdevs is %d; it stays attached", o.Name, len(names), o.MaxBdevs)
	}
	return names, nil
}

// accepts checks a further path that has connected; the caller holds Host.mu.
func (c *controller) accepts(o *AttachOptions, a *association) error {
	if c.policy != o.Multipath {
		return invalid("NVMe controller %q has another multipath policy", c.name)
	}
	if a.ident.CMIC&nvme.CMICMultiController == 0 {
		return invalid("NVMe controller %q: the subsystem has no more than one controller", c.name)
	}
	for _, p := range c.paths {
		p.mu.Lock()
		cntlid := p.cntlid
		p.mu.Unlock()
		if cntlid == a.cntlid {
			return invalid("NVMe controller %q has a path to controller %d already", c.name, cntlid)
		}
	}
	return nil
}

// addAddress adds an address to fail over to, if the same namespaces are behind it; the caller holds
// Host.mu.
func (c *controller) addAddress(o *AttachOptions, infos []*nsInfo) error {
	p := c.paths[0]
	for _, info := range infos {
		if io := p.namespaces[info.nsid]; io != nil && io.identity != info.identity {
			return invalid("namespace %d at %s port %s is not the one that controller %q has",
				info.nsid, o.Trid.Traddr, o.Trid.Trsvcid, c.name)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set.trid == o.Trid || slices.Contains(p.others, o.Trid) {
		return errdefs.Wrap(errdefs.AlreadyExists, syscall.EALREADY,
			"NVMe controller %q has the address %s port %s already", c.name, o.Trid.Traddr, o.Trid.Trsvcid)
	}
	p.others = append(p.others, o.Trid)
	return nil
}
