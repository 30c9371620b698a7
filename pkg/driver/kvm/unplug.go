// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/qmp"
)

// unplug takes a device out of the guest, with the connection that it used, and reports whether it was
// there. Where there is no QEMU nothing is to be done.
func (d *Driver) unplug(ctx context.Context, id, what string) (was bool, err error) {
	_, was, err = d.device(ctx, id)
	switch {
	case err == nil:
	case d.look().gone:
		return false, nil
	default:
		return false, err
	}
	if was && strings.HasPrefix(id, prefixNvme) && !d.cfg.UnplugNvme {
		return was, errdefs.New(errdefs.FailedPrecondition,
			"%s: the guest must be switched off first, because QEMU %s may abort when it is unplugged (see --unplug-nvme)",
			what, d.look().version)
	}
	if was {
		if err := d.letGo(ctx, id, what); err != nil {
			return was, err
		}
		d.cfg.Log.Info("unplugged", "device", id)
	}
	return was, d.dropChardev(ctx, id)
}

// letGo asks the guest to let go of a device until it has.
func (d *Driver) letGo(ctx context.Context, id, what string) error {
	happened, stop := d.departures.await(id)
	defer stop()
	waiting, cancel := context.WithTimeout(ctx, d.cfg.UnplugTime)
	defer cancel()
	var last error // QEMU refuses to ask again what the guest has not answered
	for {
		err := d.client.Execute(waiting, "device_del", map[string]any{"id": id}, nil)
		switch r := qmp.Refusal(err); {
		case r != nil && r.Class == qmp.ClassDeviceNotFound:
			return nil
		case r != nil:
			last = err
		case err != nil && waiting.Err() == nil:
			return refused(err, "%s cannot be unplugged", what)
		}
		select {
		case <-happened:
		case <-time.After(askPause):
		case <-waiting.Done():
			return d.held(ctx, what, errors.Join(context.Cause(waiting), last))
		}
		switch _, there, err := d.device(waiting, id); {
		case err == nil && !there:
			return nil
		case err != nil && waiting.Err() == nil:
			return err
		}
	}
}

// held is the outcome when a guest has not let go in time: it may yet, and QEMU remembers.
func (d *Driver) held(ctx context.Context, what string, cause error) error {
	if ctx.Err() != nil {
		return errdefs.Wrap(errdefs.OutcomeUnknown, cause, "%s: the guest has been asked to let go of it and has not yet", what)
	}
	asking, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var status struct {
		Status string `json:"status"`
	}
	state := "in an unknown state"
	if err := d.client.Execute(asking, "query-status", nil, &status); err == nil {
		state = status.Status
	}
	return errdefs.Wrap(errdefs.OutcomeUnknown, cause,
		"%s: the guest (%s) has not let go of it within %v: it must be running, with PCI hot-plug; it has been asked, and will be again",
		what, state, d.cfg.UnplugTime)
}
