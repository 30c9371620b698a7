// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/qmp"
)

// The models of devices in QEMU.
const (
	modelBlk  = "vhost-user-blk-pci"
	modelNvme = "vfio-user-pci"
)

// monitor is what is known of QEMU. Devices is replaced, never changed.
type monitor struct {
	up          bool
	why         error  // why there is no connection, or no answer; nil when all is well
	connections uint64 // counts them
	version     qmp.Version
	models      map[string]bool // which of the models this QEMU has
	// devices is what QEMU had when it last told, by id. It is kept over a lost connection, unless
	// there is no QEMU any more.
	devices map[string]device
	// gone says that nobody listens at the monitor's address: there is no QEMU, and no guest.
	gone bool
}

// look returns what is known now, without asking.
func (d *Driver) look() monitor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.monitor
}

// hello finds out what this QEMU can do.
func (d *Driver) hello(ctx context.Context, c *qmp.Conn) error {
	models := map[string]bool{}
	for _, model := range []string{modelBlk, modelNvme} {
		err := c.Execute(ctx, "device-list-properties", map[string]any{"typename": model}, nil)
		if err != nil && qmp.Refusal(err) == nil {
			return fmt.Errorf("ask for the devices that it can have: %w", err)
		}
		models[model] = err == nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.monitor.version, d.monitor.models = c.Version(), models
	return nil
}

// up notes a new connection: to the same QEMU, or to one that has none of our devices.
func (d *Driver) up() {
	d.mu.Lock()
	d.monitor.up, d.monitor.gone, d.monitor.why = true, false, nil
	d.monitor.connections++
	version := d.monitor.version
	d.mu.Unlock()
	d.cfg.Log.Info("QEMU is there", "address", d.cfg.Address, "version", version.String())
	d.tell(driver.EventUp)
}

// down notes why there is no connection.
func (d *Driver) down(err error) {
	d.mu.Lock()
	was := d.monitor.up
	d.monitor.up, d.monitor.why = false, err
	d.monitor.gone = errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
	if d.monitor.gone {
		was = was || len(d.monitor.devices) > 0
		d.monitor.devices = nil
	}
	d.mu.Unlock()
	if was {
		d.tell(driver.EventChanged)
	}
}

// event takes in what QEMU tells by itself.
func (d *Driver) event(e qmp.Event) {
	if e.Name != "DEVICE_DELETED" && e.Name != "DEVICE_UNPLUG_GUEST_ERROR" {
		return
	}
	var data struct {
		Device string `json:"device"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || !ours(data.Device) {
		return
	}
	d.gone.tell(data.Device)
	d.tell(driver.EventChanged)
}

// away is the error of what needs a QEMU that does not answer or is not there.
func (d *Driver) away(why error) error {
	return errdefs.Wrap(errdefs.Unavailable, why, "QEMU at %s://%s cannot be reached", d.cfg.Network, d.cfg.Address)
}

// device is one of our devices in QEMU.
type device struct {
	model string
	bus   string
	slot  int64
}

// property of an object, or child, as qom-list tells it.
type property struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// peripherals is where QEMU keeps the devices that have ids.
const peripherals = "/machine/peripheral"

// inFlight is how many questions wait for QEMU's answers at a time; it reads no more than eight ahead.
const inFlight = 8

// devices asks QEMU for our devices. It does not ask for longer than AnswerTime, and not for long when it has
// not been answered the last time. What fails leaves what was known.
func (d *Driver) devices(ctx context.Context) (map[string]device, error) {
	before := d.look()
	if !before.up {
		return before.devices, d.away(before.why)
	}
	patience := d.cfg.AnswerTime
	if before.why != nil {
		patience /= 10
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := d.ask(asking)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.monitor.connections != before.connections || !d.monitor.up:
		return d.monitor.devices, d.away(errors.New("the connection has just changed: try again"))
	case err == nil:
		d.monitor.devices, d.monitor.why = found, nil
		return found, nil
	case ctx.Err() != nil:
		return d.monitor.devices, errdefs.Wrap(errdefs.ClassOf(err), err, "ask QEMU for its devices")
	}
	d.monitor.why = err
	return d.monitor.devices, d.away(err)
}

// ask asks QEMU for our devices.
func (d *Driver) ask(ctx context.Context) (map[string]device, error) {
	var children []property
	if err := d.client.Execute(ctx, "qom-list", map[string]any{"path": peripherals}, &children); err != nil {
		return nil, err
	}
	children = slices.DeleteFunc(children, func(p property) bool { return !ours(p.Name) })
	all := make([]device, len(children))
	errs := make([]error, len(children))
	slots := make(chan struct{}, inFlight)
	var questions sync.WaitGroup
	for i, child := range children {
		slots <- struct{}{}
		questions.Go(func() {
			all[i], errs[i] = d.askOne(ctx, child)
			<-slots
		})
	}
	questions.Wait()
	found := make(map[string]device, len(children))
	for i, child := range children {
		switch r := qmp.Refusal(errs[i]); {
		case r != nil && r.Class == qmp.ClassDeviceNotFound: // it has gone since
		case errs[i] != nil:
			return nil, errs[i]
		default:
			found[child.Name] = all[i]
		}
	}
	return found, nil
}

// askOne asks where a device sits.
func (d *Driver) askOne(ctx context.Context, child property) (device, error) {
	get := func(name string, value any) error {
		return d.client.Execute(ctx, "qom-get", map[string]any{"path": peripherals + "/" + child.Name, "property": name}, value)
	}
	var (
		bus      string
		function int64
	)
	if err := errors.Join(get("parent_bus", &bus), get("addr", &function)); err != nil {
		return device{}, err
	}
	model, _ := strings.CutPrefix(child.Type, "child<")
	// An address has three bits of function below those of the slot.
	return device{model: strings.TrimSuffix(model, ">"), bus: bus[strings.LastIndexByte(bus, '/')+1:], slot: function >> 3}, nil
}

// forget takes a device out of what is known to be there.
func (d *Driver) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.monitor.devices = maps.Clone(d.monitor.devices)
	delete(d.monitor.devices, id)
}

// departures tells those who wait that devices may have gone.
type departures struct {
	mu      sync.Mutex
	waiting map[string]chan struct{} // by id, each with room for one; guarded by mu
}

// await returns a channel that gets a value when something has happened to the device's unplugging.
// One waits for each device.
func (g *departures) await(id string) (happened <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = map[string]chan struct{}{}
	}
	g.waiting[id] = c
	return c, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.waiting, id)
	}
}

func (g *departures) tell(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case g.waiting[id] <- struct{}{}:
	default:
	}
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
