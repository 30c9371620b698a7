// SPDX-License-Identifier: Apache-2.0

// Package kvm shows what another driver serves to a virtual machine: it plugs devices into a running
// QEMU and unplugs them, over QMP. It wraps the driver of the data plane; everything that is not
// seen by a host on PCI passes through.
//
// A device has two halves: the back end in the data plane (a vhost-user-blk controller, a vfio-user
// endpoint) and the device in QEMU, which connects to the back end's socket. Create makes them in this
// order and takes the first away if the second is refused; Delete goes the other way, because a data
// plane does not let go of what a virtual machine uses. Observe puts together what both tell and says
// which half is missing, so that whoever keeps records adds it: after a restart of the data plane the
// devices of a running guest stay, and connect again; after a restart of QEMU they are plugged again.
//
// What belongs to us in QEMU has an id that says so. No state is kept anywhere else.
package kvm

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/qmp"
)

// Config says which QEMU shows what.
type Config struct {
	// Inner drives the data plane. Required. The Driver runs it.
	Inner driver.Driver
	// Network is "unix" or "tcp", Address the path or host:port of a QMP monitor of which this driver is
	// the only client. Required.
	Network, Address string
	// VhostDir is the directory in which the data plane makes its vhost-user sockets, as QEMU sees it.
	// Required.
	VhostDir string
	// VfioUserDir is the directory of the vfio-user endpoints, as QEMU sees it; "" means that there are
	// none.
	VfioUserDir string
	// Buses are the ids of the PCI buses that devices are plugged into, in the order of the ports.
	// Required, each once.
	Buses []string
	// Log takes changes of state. Required.
	Log *slog.Logger
	// UnplugNvme says that this QEMU survives the unplugging of an NVMe controller, which none of the
	// releases does that have been seen (10.1 to 11.1): they abort, and the guest dies. Without it NVMe
	// controllers stay in a guest until it is off.
	UnplugNvme bool
	// UnplugTime bounds the wait for a guest to let go of a device; 0 is 12 s.
	UnplugTime time.Duration
	// AnswerTime is how long QEMU may take to tell what it has; 0 is 2 s. Whoever observes waits as long
	// for a QEMU that stands still.
	AnswerTime time.Duration
}

const (
	// defaultUnplugTime is twice what a guest needs with the slowest way of hot-plug, that of PCI Express.
	defaultUnplugTime = 12 * time.Second
	defaultAnswerTime = 2 * time.Second
)

// Driver is a data plane with a QEMU in front of it. It implements [driver.Driver], and passes
// [driver.Statter], [driver.Resetter], [driver.HostCounter] and [driver.Capable] on.
type Driver struct {
	cfg    Config
	client *qmp.Client
	out    chan driver.Event
	// came and changed, cap 1 each, tell pump of connections to QEMU and of changes in it.
	came, changed chan struct{}
	locks         locks
	departures    departures
	plugging      chan struct{} // has an element for each device that is being plugged

	mu      sync.Mutex
	monitor monitor // guarded by mu
}

var (
	_ driver.Driver      = (*Driver)(nil)
	_ driver.Statter     = (*Driver)(nil)
	_ driver.Resetter    = (*Driver)(nil)
	_ driver.HostCounter = (*Driver)(nil)
	_ driver.Capable     = (*Driver)(nil)
)

// New returns a driver that does nothing until Run runs, or InvalidArgument if the configuration is
// not whole.
func New(cfg Config) (*Driver, error) {
	if cfg.Inner == nil || cfg.Log == nil || cfg.VhostDir == "" {
		return nil, errdefs.New(errdefs.InvalidArgument, "kvm driver: Inner, VhostDir and Log must be set")
	}
	if cfg.UnplugTime < 0 || cfg.AnswerTime < 0 {
		return nil, errdefs.New(errdefs.InvalidArgument, "kvm driver: times must not be negative")
	}
	if err := CheckBuses(cfg.Buses); err != nil {
		return nil, fmt.Errorf("kvm driver: %w", err)
	}
	if cfg.UnplugTime == 0 {
		cfg.UnplugTime = defaultUnplugTime
	}
	if cfg.AnswerTime == 0 {
		cfg.AnswerTime = defaultAnswerTime
	}
	for _, dir := range []*string{&cfg.VhostDir, &cfg.VfioUserDir} {
		if *dir == "" {
			continue
		}
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, errdefs.Wrap(errdefs.InvalidArgument, err, "kvm driver: directory of sockets")
		}
		*dir = abs
	}
	d := &Driver{
		cfg: cfg, out: make(chan driver.Event), came: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		plugging: make(chan struct{}, pluggingMost),
	}
	d.monitor.why = errdefs.New(errdefs.Unavailable, "no connection has been tried yet")
	client, err := qmp.New(qmp.Config{
		Network: cfg.Network, Address: cfg.Address, Log: cfg.Log,
		OnUp: d.hello, OnReady: d.up, OnDown: d.down, OnEvent: d.event,
	})
	if err != nil {
		return nil, fmt.Errorf("kvm driver: %w", err)
	}
	d.client = client
	return d, nil
}

// Run implements [driver.Driver].
func (d *Driver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var others sync.WaitGroup
	others.Go(func() { d.pump(ctx) })
	others.Go(func() { _ = d.client.Run(ctx) }) // it ends with ctx only, and then without an error
	err := d.cfg.Inner.Run(ctx)
	cancel()
	others.Wait()
	if err != nil {
		return fmt.Errorf("kvm driver: %w", err)
	}
	return nil
}

// Status implements [driver.Driver]: it is that of the data plane. A QEMU that is away holds up nothing
// but what it is to show. Every connection to QEMU begins an epoch too.
func (d *Driver) Status() driver.Status {
	s := d.cfg.Inner.Status()
	m := d.look()
	s.Epoch += m.connections
	if m.up && s.Version != "" {
		s.Version += ", QEMU " + m.version.String()
	}
	return s
}
