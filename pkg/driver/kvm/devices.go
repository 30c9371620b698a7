// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/qmp"
)

// device is one of our devices in QEMU.
type device struct {
	model string
	bus   string
	slot  int64
}

// peripherals is where QEMU keeps the devices that have ids.
const peripherals = "/machine/peripheral"

// inFlight is how many questions wait for QEMU's answers at a time; it reads no more than eight ahead.
const inFlight = 8

// devices asks QEMU for our devices. What fails leaves, and returns, what was known. As long as none goes, only
// those that are new are asked about: a device never moves.
func (d *Driver) devices(ctx context.Context) (map[string]device, error) {
	before := d.look()
	var known, found map[string]device
	if before.asked == before.departures {
		known = before.devices
	}
	err := d.patiently(ctx, func(ctx context.Context) (err error) {
		found, err = d.askAll(ctx, known)
		// QEMU tells of departures before it answers what was asked after them.
		if err == nil && len(known) > 0 && d.look().departures != before.departures {
			found, err = d.askAll(ctx, nil)
		}
		return err
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.monitor.devices, d.monitor.asked = found, before.departures
	}
	return d.monitor.devices, err
}

// device asks QEMU for one device.
func (d *Driver) device(ctx context.Context, id string) (v device, there bool, err error) {
	err = d.patiently(ctx, func(ctx context.Context) (err error) {
		v, err = d.askOne(ctx, id)
		if there = err == nil; isMissing(err) {
			return nil
		}
		return err
	})
	return v, there, err
}

// patiently asks QEMU something, not for longer than AnswerTime, and not for long when it has not answered the
// last time. It fails with Unavailable when QEMU does not answer.
func (d *Driver) patiently(ctx context.Context, ask func(context.Context) error) error {
	before := d.look()
	if !before.up {
		return d.away(before.why)
	}
	patience := d.cfg.AnswerTime
	if before.why != nil {
		patience /= 10
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := ask(asking)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.monitor.connections != before.connections || !d.monitor.up:
		return d.away(errors.New("the connection has just changed: try again"))
	case ctx.Err() != nil:
		if err != nil {
			return fmt.Errorf("ask QEMU for its devices: %w", err)
		}
		return nil
	case err != nil:
		d.monitor.why = err
		return d.away(err)
	}
	d.monitor.why = nil
	return nil
}

// askAll asks for all of our devices, but where those that are known sit.
func (d *Driver) askAll(ctx context.Context, known map[string]device) (map[string]device, error) {
	var children []struct {
		Name string `json:"name"`
	}
	if err := d.client.Execute(ctx, "qom-list", map[string]any{"path": peripherals}, &children); err != nil {
		return nil, err
	}
	var ids []string
	found := make(map[string]device, len(children))
	for _, child := range children {
		if v, is := known[child.Name]; is {
			found[child.Name] = v
		} else if ours(child.Name) {
			ids = append(ids, child.Name)
		}
	}
	all := make([]device, len(ids))
	errs := make([]error, len(ids))
	slots := make(chan struct{}, inFlight)
	var questions sync.WaitGroup
	for i, id := range ids {
		slots <- struct{}{}
		questions.Go(func() {
			all[i], errs[i] = d.askOne(ctx, id)
			<-slots
		})
	}
	questions.Wait()
	for i, id := range ids {
		switch {
		case errs[i] == nil:
			found[id] = all[i]
		case !isMissing(errs[i]): // else it has gone since
			return nil, errs[i]
		}
	}
	return found, nil
}

// askOne asks what a device is and where it sits.
func (d *Driver) askOne(ctx context.Context, id string) (device, error) {
	get := func(property string, value any) error {
		return d.client.Execute(ctx, "qom-get", map[string]any{"path": peripherals + "/" + id, "property": property}, value)
	}
	var (
		v   device
		bus string
		at  int64 // three bits of function below those of the slot
	)
	for property, value := range map[string]any{"type": &v.model, "parent_bus": &bus, "addr": &at} {
		if err := get(property, value); err != nil {
			return v, err
		}
	}
	v.bus, v.slot = bus[strings.LastIndexByte(bus, '/')+1:], at>>3
	return v, nil
}

// isMissing says whether QEMU has refused for want of the device.
func isMissing(err error) bool {
	r := qmp.Refusal(err)
	return r != nil && r.Class == qmp.ClassDeviceNotFound
}
