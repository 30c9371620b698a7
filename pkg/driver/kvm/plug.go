// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/qmp"
)

const (
	// connectTime bounds the way from a socket that is there to a connection of QEMU's.
	connectTime = 3 * time.Second
	// forgetTime bounds how long QEMU remembers a connection that was taken away.
	forgetTime = 500 * time.Millisecond
	// plugTime bounds a plugging: QEMU does nothing else while a device waits for a back end that has just gone.
	plugTime = 10 * time.Second
	// pluggingMost is how many devices are plugged at a time: QEMU does one after the other.
	pluggingMost = 4
	// cleanupTime bounds what is taken back though the caller may be gone.
	cleanupTime = 5 * time.Second
	// lookPause lies between two looks for what takes milliseconds.
	lookPause = 10 * time.Millisecond
	// askPause lies between two requests to a guest to let go of a device.
	// (PCI Express has guests blink for 5 s, in which a second request would mean no).
	askPause = 4 * time.Second
)

// reasonRefused is the errdefs reason of everything that QEMU refuses.
const reasonRefused = "QEMU_ERROR"

// reconnectMilliseconds is how QEMU comes back to a back end that was away: every second, or four times in one
// where QEMU can (9.2, which calls the old option deprecated).
const reconnectMilliseconds = 250

// part is a device as it is to be in QEMU.
type part struct {
	id, model string
	// what names it for people.
	what string
	// socket is the path of the back end's.
	socket string
	seat   seat
	// queues is how many request queues the device has, 0 for QEMU's choice.
	queues uint32
}

// refused returns the error of a command: FailedPrecondition if QEMU refused it, else as it is.
func refused(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	r := qmp.Refusal(err)
	if r == nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return errdefs.Wrap(errdefs.FailedPrecondition, err, "%s", what).
		WithInfo(reasonRefused, map[string]string{"qemu_class": r.Class, "qemu_message": r.Description})
}

// pluggable says why a device cannot be plugged now, nil if nothing is known against it.
func (d *Driver) pluggable(p part) error {
	m := d.look()
	switch {
	case !m.up || m.why != nil:
		return d.away(m.why)
	case m.models[p.model]:
		return nil
	case p.model == modelNvme:
		return errdefs.New(errdefs.Unimplemented,
			"%s: QEMU %s has no vfio-user client (its device %s): QEMU has one since version 10.1", p.what, m.version, p.model)
	}
	return errdefs.New(errdefs.Unimplemented, "%s: QEMU %s was built without its device %s", p.what, m.version, p.model)
}

// plug makes a device that is not there. When it fails QEMU is as before, unless the outcome is unknown.
func (d *Driver) plug(ctx context.Context, p part) error {
	if err := d.pluggable(p); err != nil {
		return err
	}
	select {
	case d.plugging <- struct{}{}:
		defer func() { <-d.plugging }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, plugTime)
	defer cancel()
	if err := d.reachable(ctx, p); err != nil {
		return err
	}
	arguments := map[string]any{"driver": p.model, "id": p.id, "bus": p.seat.bus, "addr": fmt.Sprintf("%#x", p.seat.slot)}
	switch p.model {
	case modelBlk:
		if err := d.addChardev(ctx, p); err != nil {
			return err
		}
		arguments["chardev"] = p.id
		if p.queues > 0 {
			arguments["num-queues"] = p.queues
		}
	case modelNvme:
		arguments["socket"] = map[string]any{"type": "unix", "path": p.socket}
	}
	err := d.client.Execute(ctx, "device_add", arguments, nil)
	if err == nil {
		d.cfg.Log.Info("plugged", "device", p.id, "bus", p.seat.bus, "slot", p.seat.slot)
		return nil
	}
	err = refused(err, "%s cannot be plugged into %s", p.what, p.seat)
	if errors.Is(err, errdefs.OutcomeUnknown) || p.model != modelBlk {
		return err
	}
	return errors.Join(err, d.takeBackChardev(ctx, p.id))
}

// reachable refuses a slot in which no guest would look, as QEMU does not: PCI Express ports lead to one
// device.
func (d *Driver) reachable(ctx context.Context, p part) error {
	if p.seat.slot == 0 {
		return nil
	}
	var kind string
	err := d.client.Execute(ctx, "qom-get", map[string]any{
		"path": peripherals + "/" + p.seat.bus + "/" + p.seat.bus, "property": "type",
	}, &kind)
	switch {
	case isMissing(err): // the machine's own bus, or none: QEMU will say
		return nil
	case err != nil:
		return refused(err, "%s: QEMU does not tell what bus %s is", p.what, p.seat.bus)
	case kind == "PCIE":
		return errdefs.New(errdefs.FailedPrecondition,
			"%s: %s cannot be used: the bus is a PCI Express port, which has slot 0 only", p.what, p.seat)
	}
	return nil
}

// addChardev makes the connection to the back end and waits until it stands: QEMU would do nothing else
// while a device waits for it.
func (d *Driver) addChardev(ctx context.Context, p part) error {
	// One that is left over may lead elsewhere.
	if err := d.dropChardev(ctx, p.id); err != nil {
		return err
	}
	data := map[string]any{
		"addr":   map[string]any{"type": "unix", "data": map[string]any{"path": p.socket}},
		"server": false,
	}
	if d.look().version.AtLeast(9, 2) {
		data["reconnect-ms"] = reconnectMilliseconds
	} else {
		data["reconnect"] = 1
	}
	// One of the same id that has just been taken away while it was connecting is remembered a moment longer.
	patience, stop := context.WithTimeout(ctx, forgetTime)
	defer stop()
	for {
		err := d.client.Execute(ctx, "chardev-add", map[string]any{
			"id": p.id, "backend": map[string]any{"type": "socket", "data": data},
		}, nil)
		if err == nil {
			break
		}
		if qmp.Refusal(err) == nil || pause(patience, lookPause) != nil {
			return refused(err, "%s: QEMU cannot be given the connection to %s", p.what, p.socket)
		}
	}
	waiting, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	for {
		c, err := d.chardev(waiting, p.id)
		if err == nil && c != nil && c.connected() {
			return nil
		}
		if err == nil {
			err = pause(waiting, lookPause)
		}
		if err == nil {
			continue
		}
		if ctx.Err() == nil && waiting.Err() != nil {
			err = errdefs.New(errdefs.Unavailable,
				"%s: QEMU does not reach the data plane at %s: it must see the directory of the vhost-user sockets under that path and may open them", p.what, p.socket)
		}
		return errors.Join(err, d.takeBackChardev(ctx, p.id))
	}
}

// chardev is what QEMU tells of a character device.
type chardev struct {
	Label    string `json:"label"`
	Filename string `json:"filename"`
}

// connected reads what QEMU 2.x to 10.x writes before the address of a connection that is not there.
func (c *chardev) connected() bool { return !strings.HasPrefix(c.Filename, "disconnected:") }

// chardev looks for a character device, nil if there is none.
func (d *Driver) chardev(ctx context.Context, id string) (*chardev, error) {
	var all []chardev
	if err := d.client.Execute(ctx, "query-chardev", nil, &all); err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Label == id {
			return &all[i], nil
		}
	}
	return nil, nil //nolint:nilnil // to find nothing is no failure
}

// takeBackChardev takes a character device away, whether or not the caller is still there.
func (d *Driver) takeBackChardev(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	return d.dropChardev(ctx, id)
}

// dropChardev takes a character device away if it is there. The device that used it lets go of it a moment
// after it has gone itself.
func (d *Driver) dropChardev(ctx context.Context, id string) error {
	waiting, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	for {
		c, err := d.chardev(waiting, id)
		if err != nil || c == nil {
			return err
		}
		err = d.client.Execute(waiting, "chardev-remove", map[string]any{"id": id}, nil)
		if err == nil || qmp.Refusal(err) == nil {
			return err
		}
		if pause(waiting, lookPause) != nil {
			return refused(err, "the connection %s of QEMU cannot be taken away", id)
		}
	}
}
